# Everything here sets itself up; it needs python3 (3.11+) with venv, and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEN := .codes-seen
MINUTES ?= 10
INPUTS ?= 100000
SEED ?=

.DEFAULT_GOAL := help
.PHONY: help demo test soak fuzz repeat mutate coverage lint format types unit clients bdd bench wire docs clean

help:
	@echo 'make demo    sets itself up, fetches a 94 MiB model, streams an answer'
	@echo 'make test    every test, the real faults included'
	@echo 'make bench   rbee against the bare engine, as ratios'
	@echo 'make wire    rbee beside nginx, a Rust router and LiteLLM: bench/REPORT.md'
	@echo 'make soak    clients and random faults for MINUTES=10; SEED=… repeats a run'
	@echo 'make fuzz    ten times as many odd inputs as make test tries; INPUTS=100000'
	@echo 'make repeat  scenarios that repeat a fault ten times as often; long histories'
	@echo 'make mutate  faults put into a copy, one at a time; each must turn a test red'
	@echo 'make lint | types | unit | clients | bdd | coverage | format | docs | clean'

$(BIN)/rbee: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q src
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
	$(BIN)/python -m pytest -q -n 4 --dist worksteal --ignore tests/clients tests

clients: $(VENV)/.tests
	$(BIN)/python -m tests.clients.environments
	$(BIN)/python -m pytest -q -n 4 --dist loadfile tests/clients

bdd: $(VENV)/.tests
	@rm -rf $(SEEN)
	RBEE_CODES_SEEN=$(SEEN) $(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not serial" test-harness/bdd
	RBEE_CODES_SEEN=$(SEEN) $(BIN)/python -m pytest -q -n 0 -m serial test-harness/bdd
	@$(BIN)/python scripts/coverage $(SEEN)

coverage: $(VENV)/.tests
	@$(BIN)/python scripts/coverage $(SEEN) --write

soak: $(VENV)/.tests
	@PYTHONPATH=.:test-harness:test-harness/bdd $(BIN)/python -m soak --minutes $(MINUTES) \
		$(if $(SEED),--seed $(SEED))

fuzz: $(VENV)/.tests
	RBEE_FUZZ_INPUTS=$(INPUTS) $(BIN)/python -m pytest -q -n 2 --timeout 1800 tests/fuzz \
		tests/edge/test_http_connection.py tests/models/test_gguf_hostile.py tests/clients/test_openapi.py

repeat: $(VENV)/.tests
	RBEE_SIMULATIONS=10000 $(BIN)/python -m pytest -q -n 2 --timeout 1800 tests/simulation
	RBEE_REPEAT=1 RBEE_TEST_KILLS=50 $(BIN)/python -m pytest -q -n 0 -rA --timeout 1800 test-harness/bdd \
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
	rm -rf $(VENV) $(SEEN) build dist .mypy_cache .ruff_cache .hypothesis
