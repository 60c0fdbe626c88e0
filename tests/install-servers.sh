#!/bin/sh
# Installs the Debian servers that the tests talk to, where it may (root, apt). Elsewhere it says what will be skipped.
# With the argument "bench" it installs the load generator too.
set -eu

missing=""
need() { # need BINARY PACKAGE
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need named bind9
need dig bind9-dnsutils
need knotd knot
need kdig knot-dnsutils
need nats-server nats-server
need chromium chromium
# Debian keeps PostgreSQL's programs out of PATH.
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
if [ "${1:-}" = bench ]; then
    need dnsperf dnsperf
    need etcd etcd-server
    need spin spin
    need gcc gcc
fi
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "========================================================================================"
    echo "NOT INSTALLED:$missing"
    echo "Tests against these servers will be SKIPPED. Install them (Debian: apt-get install$missing)"
    echo "or run 'make test' as root on Debian to have it done."
    echo "========================================================================================"
fi
