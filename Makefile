# front: a Pareto front on MovieLens 100K from nothing but Python 3.11+; check: lint, types and quick
# tests, while you work; test: the whole test suite.
# Both install into .venv once, with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
MAIN := experiments/movielens_accuracy_diversity_fairness

.PHONY: front check test lint evidence bench
.DELETE_ON_ERROR:

front: $(VENV)/.installed-all
	$(BIN)/python $(MAIN)/run.py

# All benchmarks in their quick sizes; appends to benchmarks/results.md.
bench: $(VENV)/.installed-all
	$(BIN)/python -m benchmarks

# Whole files go to as many processes as there are cores, so that what a file prepares is prepared once;
# in the order of tests/conftest.py, so that no long file is left for the end.
PYTEST := $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-dev
	$(PYTEST)

# Within two minutes on two cores: no training, no commands, four examples of each property.
check: lint
	$(PYTEST) -m "not trains" --hypothesis-profile=check

# Everything that README and results claim, in full: hours. ONLY=name runs one step; --list names them.
evidence: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.evidence $(addprefix --only ,$(ONLY))

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# A stamp is older than what it was installed from only when that has changed since.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[$*]"
	touch $@
