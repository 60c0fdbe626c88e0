#!/bin/sh
# Writes the lock files anew from pyproject.toml: hashes, no index addresses. Needs pip-tools.
set -eu
cd "$(dirname "$0")/.."
lock() {
    pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --strip-extras "$@" pyproject.toml
}
lock --extra fast --extra nats --extra postgres -o requirements/run.txt
lock --extra fast --extra nats --extra postgres --extra dev -o requirements/dev.txt
lock --extra fast --extra nats --extra postgres --extra dev --extra bench -o requirements/bench.txt
