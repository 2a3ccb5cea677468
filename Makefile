# Everything here sets itself up; it needs python3 (3.11+) with venv, and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test soak mutate lint format types unit clients bdd bench wire docs clean

help:
	@echo 'make demo    sets itself up, fetches a 94 MiB model, streams an answer'
	@echo 'make test    every test, the real faults included'
	@echo 'make bench   rbee against the bare engine, as ratios'
	@echo 'make wire    rbee beside nginx, a Rust router and LiteLLM: bench/REPORT.md'
	@echo 'make soak    scenarios that repeat a fault, ten times as often'
	@echo 'make mutate  faults put into a copy, one at a time; each must turn a test red'
	@echo 'make lint | types | unit | clients | bdd | format | docs | clean'

$(BIN)/rbee: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tests: $(BIN)/rbee pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: $(BIN)/rbee
	@scripts/demo $(BIN)/rbee

test: $(VENV)/.tests
	@scripts/test $(BIN)

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.tests
	$(BIN)/mypy

unit: $(VENV)/.tests
	$(BIN)/python -m pytest -q -n 2 --ignore tests/clients tests

clients: $(VENV)/.tests
	$(BIN)/python -m tests.clients.environments
	$(BIN)/python -m pytest -q -n 2 tests/clients

bdd: $(VENV)/.tests
	$(BIN)/python -m pytest -q -n 2 -m 'not serial' test-harness/bdd
	$(BIN)/python -m pytest -q -n 0 -m serial test-harness/bdd

soak: $(VENV)/.tests
	RBEE_SIMULATIONS=10000 RBEE_FUZZ_INPUTS=100000 $(BIN)/python -m pytest -q -n 2 --timeout 1800 \
		tests/simulation tests/models/test_gguf_hostile.py
	RBEE_SOAK=1 RBEE_TEST_KILLS=50 $(BIN)/python -m pytest -q -n 0 -rA --timeout 1800 test-harness/bdd \
		-k 'again_and_again or killed_at_random_moments'

mutate: $(VENV)/.tests
	@$(BIN)/python scripts/mutate

format: $(VENV)/.tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.tests
	$(BIN)/python scripts/generate_docs

bench: $(VENV)/.tests
	$(BIN)/python -m bench

wire: $(VENV)/.tests
	$(BIN)/python -m bench.wire --report bench/REPORT.md

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis
