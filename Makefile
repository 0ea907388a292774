# make study and make test are all that a fresh machine needs; Python 3.11 or newer and make are all they need.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: help study test test-faults bench soak realdata format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

study: .venv/.installed  ## install, run the digits study, print its table and where its report is
	$(BIN)/python -m lpstudy.sweep digits

test: .venv/.dev  ## install, then format check, lint, layer contracts, mypy --strict, tests (minutes)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(PYTEST) -m "not faults and not soak"

test-faults: .venv/.dev  ## real Ray, real servers, kills: what operations.md says of faults
	$(PYTEST) -m "faults and not soak"

bench: .venv/.bench  ## what a study costs beside other ways to run it: tables, and JSON in build/bench
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target bench-step bench-peer bench-lp bench-methods
	$(MAKE) --no-print-directory bench-scale
	$(BIN)/python benchmarks/gpu.py --json build/bench/gpu.json || test $$? -eq 2

bench-%: .venv/.bench
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$*.py --json build/bench/$*.json

soak: .venv/.dev  ## half an hour of studies under faults, then the fault tests that take long
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/soak.py --json build/soak.json
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/recovery.py --json build/recovery.json
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak --timeout 3600

format: .venv/.dev  ## format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the virtual environment and caches; studies and reports stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lpstudy needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.dev: .venv/.installed
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

.venv/.bench: .venv/.installed
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@
