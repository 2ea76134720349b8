# Everything runs in .venv, which `make install` builds from pyproject.toml and requirements.lock.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STORAGE ?= sqlite:///hpo.db

.PHONY: help install dev run test test-long check format lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/installed  ## make .venv with hpo in it

dev: .venv/dev  ## the same with what tests and checks need

run: install  ## set everything up, then run the coarse search
	$(BIN)/hpo run coarse --data auto --storage $(STORAGE)

test: dev  ## set everything up, then run the tests that take minutes
	$(BIN)/python -m pytest -q -n 2

test-long: dev  ## the tests that take longer, on real CIFAR-10 where HPO_DATA names it
	$(BIN)/python -m pytest -q -n 2 -m long

check: dev  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: dev  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: dev  ## write the installed versions into requirements.lock
	$(BIN)/python -m pip freeze --exclude-editable --exclude hpo > requirements.lock

clean:  ## remove .venv and caches; databases stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build *.egg-info

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c requirements.lock -e .
	touch $@

.venv/dev: .venv/installed
	$(BIN)/python -m pip install --quiet "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c requirements.lock --group dev
	touch $@
