# Everything a person or the CI does here. `make` lists it.

PYTHON ?= python3
PY := .venv/bin/python
# Processes that tests run in; each has servers of its own.
JOBS ?= 2
# Of `make fuzz` and `make compare`: how many, and what they are made from.
INPUTS ?= 1000000
TABLES ?= 400
SEED ?= 1
PIP := $(PY) -m pip --disable-pip-version-check -q
HOT := $(shell find cdc connectors sinks -name '*_cy.py' -o -name '*.pxd')
LOCK := .venv/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11

# Cases of conformance with Debezium, what it emitted, and the folder for what we emit.
CASES ?= ../shared/conformance/cases
GOLDEN ?= $(CASES)/../golden
OUT ?= build/conformance

.DEFAULT_GOAL := help
.PHONY: help demo check test conformance compare defects fuzz bench env lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/demo .venv/project .venv/compiled  ## watch a warehouse feed two services exactly once (no servers needed)
	@.venv/bin/cdc demo $(DEMO)

check: env  ## format, lint, strict types, unit tests, import rules: under a minute
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pytest -q -n 2 -m "not long" tests/unit

test: env  ## everything: real Kafka, every PostgreSQL, compiled and interpreted
	.venv/bin/pytest -n $(JOBS) --dist worksteal $(TESTS)

conformance: env  ## the events of CASES beside Debezium's in GOLDEN, byte for byte; into OUT; ONLY=name,name POSTGRES=16
	$(PY) -m tests.conformance $(CASES) $(OUT) --golden $(GOLDEN) $(if $(ONLY),--only $(ONLY)) $(if $(POSTGRES),--postgres $(POSTGRES))

defects: env  ## five deliberate defects, each of which the prover must find: ten minutes
	.venv/bin/pytest -m defects tests/end_to_end/test_mutations.py

compare: env  ## random tables through Debezium itself and through the bridge, all events compared (TABLES=2000)
	$(PY) -m tests.compare --tables $(TABLES) --seed $(SEED)

fuzz: env  ## damaged messages, rows and events into every parser (INPUTS=10000000), and a tenth interpreted
	$(PY) -m tests.fuzz --inputs $(INPUTS) --seed $(SEED)
	CDC_INTERPRETED=1 $(PY) -m tests.fuzz --inputs $$(($(INPUTS) / 10)) --seed $(SEED)

bench: env  ## rates and CPU beside pg_recvlogical and COPY on the same data
	$(PY) -m benchmarks.connector $(BENCH)
	$(PY) -m benchmarks.sink $(BENCH)
	$(PY) -m benchmarks.poll $(POLL)

env: .venv/dev .venv/project .venv/compiled  ## make or bring up to date .venv, the project in it

lock: env  ## choose newest versions of all dependencies and write them down with hashes
	$(LOCK) --upgrade pyproject.toml --extra dev --group build -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra demo --group build -c requirements/dev.txt -o requirements/demo.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/base.txt
	$(LOCK) --group build -c requirements/dev.txt -o requirements/build.txt

clean:  ## remove what was made here, the environment and Kafka's jars too
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find cdc connectors sinks \( -name '*.so' -o -name '*_cy.c' \) -delete

.venv/bin/python:
	@echo "making .venv with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/demo: requirements/demo.txt | .venv/bin/python
	@echo "installing what the demo needs"
	@$(PIP) install --require-hashes -r $<
	@touch $@

.venv/dev: requirements/dev.txt | .venv/demo
	@echo "installing what tests need"
	@$(PIP) install --require-hashes -r $<
	@touch $@

.venv/project: pyproject.toml setup.py | .venv/demo
	@CDC_SKIP_EXTENSIONS=1 $(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

.venv/compiled: setup.py $(HOT) | .venv/demo
	@echo "compiling the hot modules"
	@$(PY) setup.py -q build_ext --inplace --parallel 2
	@touch $@
