# Two commands are all the set-up there is: `make up` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup up test check-style bench chaos chaos-fleet wheel clean

help: ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

setup: $(VENV)/.ready ## build .venv with evenkeel in it

up: setup ## run the demo region on this machine
	$(BIN)/evenkeel up examples/demo/region.toml

test: setup ## the whole suite; installs Debian's DNS servers where it may
	sh tests/install-servers.sh
	$(BIN)/python -m pytest -n 3 --dist loadfile

check-style: setup ## ruff and mypy strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## every speed claim, both sides in one run (about 15 minutes)
	sh tests/install-servers.sh bench
	$(BIN)/python -m benchmarks

chaos: setup ## 30 minutes of faults against the embedded server, BIND and Knot in turn
	sh tests/install-servers.sh
	$(BIN)/python -m benchmarks.chaos --minutes 30

chaos-fleet: setup ## 20 minutes of faults against a fleet, its tables in SQLite and in PostgreSQL
	sh tests/install-servers.sh
	$(BIN)/python -m benchmarks.chaos.fleet --minutes 10
	$(BIN)/python -m benchmarks.chaos.fleet --minutes 10 --store postgres

wheel: setup ## build the wheel into dist/
	$(BIN)/python -m build --no-isolation --wheel

clean: ## remove what was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
