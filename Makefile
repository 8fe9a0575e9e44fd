# `make search` and `make test` are all a newcomer needs; both make .venv themselves.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/quickstart
# These compare searches or fits, half an hour of training each: by hand.
SPEED := $(filter-out benchmarks/common.py benchmarks/quickstart.py benchmarks/svge_recipe.py, $(wildcard benchmarks/*.py))

.PHONY: help search test test-slow bench lint clean
help:
	@echo "make search     search a network for scikit-learn's digits (about a minute) and show how to go on"
	@echo "make test       the tests                 make test-slow  the slow ones"
	@echo "make bench      speed, beside references  make lint       format, lint and types"
	@echo "make clean      remove .venv, caches and built files (runs/ stays)"

search: .venv/.installed
	$(BIN)/netwright quickstart --run $(RUN)

test: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow and not gpu"

test-slow: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "slow and not gpu"

bench: .venv/.installed-dev
	@for file in $(SPEED); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

lint: .venv/.installed-dev
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Netwright needs Python 3.11 to 3.13: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.made pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[data,dev]'
	@touch $@
