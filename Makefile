# The commands of the README. Each sets up what it needs first: system packages, then a virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REPORT ?= crashmatrix-reports
BUDGET ?= 200
# Two for each processor: tests often wait, for a disk or a process.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 2)
# Fewer, since each spends five seconds on collecting the tests.
QUICK_JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
export MYPY_NUM_WORKERS ?= auto

.PHONY: crash-matrix test test-quick test-all test-cost fuzz lint schemas docs dist bench bench-full mutants mutation false-alarms system-packages test-packages clean help

crash-matrix: $(VENV)/ready  ## crash the reference engine, used in nine ways; see crashmatrix-reports/index.html
	$(BIN)/crashmatrix run 'reference*' --budget $(BUDGET) --report $(REPORT)

test: $(VENV)/ready-dev lint  ## lint, types, and the tests of every day
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-quick: $(VENV)/ready-dev  ## the quick tests, which need no root and run no experiment
	CRASHMATRIX_QUICK=1 $(BIN)/python -m pytest -n $(QUICK_JOBS) --dist worksteal -m "not slow and not recorded and not experiment and not lengthy"

test-all: $(VENV)/ready-dev lint  ## the same with the tests that take long
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "slow or not slow"

test-cost: $(VENV)/ready-dev  ## the tests of every day, and what each file costs in processor time
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -p tests.cost

lint: $(VENV)/ready-dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

schemas: $(VENV)/ready-dev  ## write the published JSON Schemas anew
	CRASHMATRIX_REWRITE=1 $(BIN)/python -m pytest -q tests/reports/test_schemas.py tests/scenarios/systems/test_command_file.py -k published

fuzz: $(VENV)/ready-dev  ## drive the engine through random operations and kills until stopped
	CRASHMATRIX_FUZZ=1 $(BIN)/python -m pytest --timeout 0 -n 2 tests/reference_wal/test_state_machine.py -k agrees

docs: $(VENV)/ready-dev  ## build the documentation into site/, with warnings as errors
	$(BIN)/python -m mkdocs build --strict

dist: $(VENV)/ready-dev  ## build and check what a release uploads, in dist/
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

bench: $(VENV)/ready-bench  ## measure, some minutes long, and write docs/benchmarks.md; `make bench-full` takes an hour
	$(BIN)/python -m benchmarks

bench-full: $(VENV)/ready-bench  ## the same with more rounds and more benchmarks: the figures to quote
	$(BIN)/python -m benchmarks --full

$(VENV)/ready-bench: $(VENV)/ready-dev  # Stores that cannot be installed here are left out, and the page says so.
	-@$(BIN)/python -m pip install --quiet --group bench
	-@$(BIN)/python -m pip install --quiet --group bench-leveldb
	@touch $@

mutants: $(VENV)/ready-dev  ## plant bugs in the reference engine; each must be found
	$(BIN)/crashmatrix mutants --seeds 3

mutation: $(VENV)/ready-dev  ## plant bugs by machine for an hour, and write docs/mutation.md; goes on where it ended
	$(BIN)/python -m benchmarks.mutation --minutes 60

false-alarms: $(VENV)/ready-dev  ## crash correct systems at length; none may be called broken
	$(BIN)/python -m benchmarks.false_alarms
	$(BIN)/python -m benchmarks.outcomes --seconds 600

system-packages:  ## install the system packages that runs need
	@sh .ci/system-packages $(PYTHON)

test-packages:  ## install those that only tests need
	@sh .ci/system-packages $(PYTHON) test

$(VENV)/ready: pyproject.toml | system-packages
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]"
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready | test-packages
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1 - /p' $(firstword $(MAKEFILE_LIST)) | awk -F' - ' '{ printf "%-24s %s\n", $$1, $$2 }'

clean:  ## remove the virtual environment, caches and the built documentation
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
