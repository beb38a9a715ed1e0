# Every target sets up what it needs. The virtual environment is updated when a list of packages changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/run.stamp
DEV_STAMP := $(VENV)/dev.stamp
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Tests run in one process more than there are processors, because some of them wait. JOBS=0 runs them one by one.
# Files are taken in order of their names: by their number of tests, those with few and slow ones would come last.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() or 1, 8) + 1)')
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help run demo mock-providers test test-short test-race test-cover mock mock-short mock-race mock-cover \
	fuzz chaos bench bench-against bench-peers corpus freshness lint fmt docs

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "nulpoint needs Python 3.11 or newer; found $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): requirements/run.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements/run.txt -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(RUN_STAMP)
	$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

run: $(RUN_STAMP) ## run the gateway; reads .env if there is one; requests go to requests.db (nulpoint logs, stats)
	@exec $(BIN)/python -m nulpoint serve --env-file .env --request-log stdout,sqlite:requests.db

demo: $(DEV_STAMP) ## mock providers, gateway and SDK, no key needed; ONCE=1 ends by itself, REDIS=1: two gateways, one Redis
	@$(if $(REDIS),$(if $(INSTALL),INSTALL=$(INSTALL) sh tests/install.sh))
	@exec $(BIN)/python demo/demo.py $(if $(ONCE),--once) $(if $(REDIS),--redis)

mock-providers: $(RUN_STAMP) ## run the mock providers on ports 19001 to 19010
	@exec $(BIN)/python -m nulpoint mock

test: $(DEV_STAMP) ## run all tests; JOBS=3 processes; INSTALL=1 installs the system's packages that they could use
	@INSTALL=$(INSTALL) sh tests/install.sh
	@cd tests && $(abspath $(BIN))/python -m support.freshness --warn
	$(PYTEST)

test-short: $(DEV_STAMP) ## run the fast tests
	$(PYTEST) -m "not slow"

test-race: $(DEV_STAMP) ## repeat the concurrency tests in development mode with random seeds
	@for round in 1 2 3; do \
		seed=$${SEED:-$$$$$$round}; echo "seed $$seed"; \
		NULPOINT_TEST_SEED=$$seed PYTHONASYNCIODEBUG=1 $(BIN)/python -X dev -m pytest -m race || exit 1; done

test-cover: $(DEV_STAMP) ## run all tests and report coverage by file
	@INSTALL=$(INSTALL) sh tests/install.sh
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report --skip-covered

mock: test
mock-short: test-short
mock-race: test-race
mock-cover: test-cover

corpus: $(DEV_STAMP) ## replay recorded provider traffic, if there is any, through the translations and print a table
	@cd tests && $(abspath $(BIN))/python -m support.corpus.replay

freshness: $(DEV_STAMP) ## fail if nulpoint names a model that retires within 30 days from today
	@cd tests && $(abspath $(BIN))/python -m support.freshness

fuzz: $(DEV_STAMP) ## try nearly valid input on every parser; SECONDS=60 SEED=1 TARGET=part-of-a-name
	@$(BIN)/python tests/fuzz --seconds $(or $(SECONDS),60) --target "$(TARGET)" $(if $(SEED),--seed $(SEED))

chaos: $(DEV_STAMP) ## inject random faults into three mock providers under load; SECONDS=120 SEED=1 RATE=100
	@$(BIN)/python tests/faults/chaos.py --seconds $(or $(SECONDS),120) --seed $(or $(SEED),1) --rate $(or $(RATE),100)

bench: $(DEV_STAMP) ## measure next to nginx; BENCH_QUICK=1 for a first look
	@sh bench/install.sh
	$(BIN)/python bench/run.py

bench-against: $(DEV_STAMP) ## compare with another commit: BASE=HEAD~1 PAIRS=20 ROWS=chunk,miss LIMIT=1.03
	@sh bench/install.sh
	@$(BIN)/python bench/against.py "$(BASE)" $(if $(PAIRS),--pairs $(PAIRS)) $(if $(ROWS),--rows "$(ROWS)") $(if $(LIMIT),--limit $(LIMIT))

bench-peers: $(DEV_STAMP) ## measure LiteLLM and Portkey too
	@sh bench/install.sh
	$(BIN)/python bench/run.py --peers

lint: $(DEV_STAMP) ## check format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --strict bench
	$(BIN)/python -m pytest tests/unit/test_layers.py

fmt: $(DEV_STAMP) ## format the code and fix what the linter can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(RUN_STAMP) ## write the generated documentation
	$(BIN)/python -m nulpoint.config.reference
