# Everything runs in .venv, which `make install` builds from pyproject.toml and requirements.lock.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STORAGE ?= sqlite:///hpo.db

.PHONY: help install dev run test test-browser test-elsewhere test-exhaustive test-long bench bench-full bench-peers bench-search \
	bench-search-full bench-search-peers bench-storage check docs format lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: .venv/installed  ## make .venv with hpo in it; EXTRAS=postgres,dashboard adds what some commands need
ifdef EXTRAS
	$(BIN)/python -m pip install --quiet -c requirements.lock -e '.[$(EXTRAS)]'
endif

dev: .venv/dev  ## the same with what tests and checks need

run: install  ## set everything up, then run the coarse search
	$(BIN)/hpo run coarse --data auto --storage $(STORAGE)

# Hundreds of tests start processes, which should not compile all that they import each time.
test test-browser test-long: export PYTHONDONTWRITEBYTECODE :=

test: dev  ## set everything up, then run the tests that take minutes
	$(BIN)/python -m pytest -q -n 3 --dist worksteal

test-elsewhere: dev  ## the same in another world: boot, host, user, home, zone, locale, folder, date, order
	$(BIN)/python tests/elsewhere.py $(TESTS)

test-long: dev  ## the tests that take longer, on real CIFAR-10 where HPO_DATA names it
	$(BIN)/python -m pytest -q -n 2 -m "long and not exhaustive" $(TESTS)

test-browser: dev  ## the tests that open pages in Chromium (apt install chromium-driver)
	$(BIN)/python -m pytest -q -m browser -rs $(TESTS)

test-exhaustive: dev  ## every variant of what the others sample, in an hour or more
	$(BIN)/python -m pytest -q -n 2 -m exhaustive -o timeout=0

bench: install bench-peers  ## measure ours against the other ways to do it, in about 8 minutes
	$(BIN)/python tests/benchmarks/bench.py --quick

bench-full: install bench-peers  ## the same with every repetition, in about half an hour
	$(BIN)/python tests/benchmarks/bench.py

bench-search: install bench-search-peers  ## searches side by side on a table of trained recipes, in minutes
	$(BIN)/python -m tests.benchmarks.regret.compare --quick

bench-search-full: install bench-search-peers  ## the same with every budget and repetition, in hours
	$(BIN)/python -m tests.benchmarks.regret.compare --full

bench-storage: dev  ## a fleet of 64 workers on PostgreSQL, with made-up training, in a minute
	$(BIN)/python -m tests.benchmarks.fleet --workers 64 --cells 1000 --seconds 5 --delay 2

bench-search-peers: .venv-search-peers/installed  ## make .venv-search-peers (SMAC3 needs swig: apt install swig)

bench-peers: .venv-peers/installed  ## make .venv-peers with PyTorch, JAX and scikit-learn in it

check: dev  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy docs/notebook.py  # what users write has its types

format: dev  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/docs  ## build the pages of docs/ into site/
	$(BIN)/python docs/commands.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lock: dev .venv/docs  ## write the installed versions into requirements.lock
	$(BIN)/python -m pip freeze --exclude-editable --exclude hpo-stacks > requirements.lock

clean:  ## remove all environments and caches; databases stay
	rm -rf .venv .venv-peers .venv-search-peers .mypy_cache .pytest_cache .ruff_cache build site *.egg-info

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c requirements.lock -e .
	touch $@

.venv/dev: .venv/installed
	$(BIN)/python -m pip install --quiet "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c requirements.lock --group dev
	touch $@

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c requirements.lock --group docs
	touch $@

.venv-peers/installed: pyproject.toml
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet "pip>=25.1"
	.venv-peers/bin/python -m pip install --quiet --group peers
	touch $@

.venv-search-peers/installed: pyproject.toml
	$(PYTHON) -m venv .venv-search-peers
	.venv-search-peers/bin/python -m pip install --quiet "pip>=25.1"
	.venv-search-peers/bin/python -m pip install --quiet --group search-peers
	-.venv-search-peers/bin/python -m pip install --quiet --group search-peers-built
	touch $@
