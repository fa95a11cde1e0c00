# The commands of the README. Each sets up what it needs first: system packages, then a virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REPORT ?= crashmatrix-report
JOBS ?= auto

.PHONY: crash-matrix test test-all fuzz lint schemas bench mutants false-alarms system-packages test-packages clean

crash-matrix: $(VENV)/ready
	$(BIN)/crashmatrix run --report $(REPORT)

test: $(VENV)/ready-dev lint
	$(BIN)/python -m pytest -n $(JOBS)

test-all: $(VENV)/ready-dev lint
	$(BIN)/python -m pytest -n $(JOBS) -m "slow or not slow"

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

schemas: $(VENV)/ready-dev
	CRASHMATRIX_REWRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/reports/test_schemas.py tests/scenarios/systems/test_command_file.py -k published

fuzz: $(VENV)/ready-dev
	CRASHMATRIX_FUZZ=1 $(BIN)/python -m pytest --timeout 0 -n 2 tests/reference_wal/test_state_machine.py -k agrees

bench: $(VENV)/ready-dev
	$(BIN)/python -m benchmarks.failpoint_cost
	-@$(BIN)/python -m pip install --quiet --group bench
	-@$(BIN)/python -m pip install --quiet --group bench-leveldb
	$(BIN)/python -m benchmarks.append
	$(BIN)/python -m benchmarks.replay

mutants: $(VENV)/ready-dev
	$(BIN)/crashmatrix mutants --seeds 3

false-alarms: $(VENV)/ready-dev
	$(BIN)/python -m benchmarks.false_alarms
	$(BIN)/python -m benchmarks.outcomes --seconds 600

system-packages:
	@sh .ci/system-packages $(PYTHON)

test-packages:
	@sh .ci/system-packages $(PYTHON) test

$(VENV)/ready: pyproject.toml | system-packages
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[lmdb]"
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready | test-packages
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
