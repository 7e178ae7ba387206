# make run: everything from nothing to a charged session. make test: everything tested. Both work on a bare machine with
# Python 3.11+ (with venv), make and git, and again on a used one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run stop test bench lint format types generate install help
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: install ## install, start the local Supabase and the bridge, charge one session, stay up until Ctrl-C
	@exec $(BIN)/python -m demo

stop: ## stop whatever `make run` started; data stays
	@test ! -x $(BIN)/python || $(BIN)/python -m demo --stop

test: install ## lint, types and all tests (about 7 minutes on two cores)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile  # most of the time is waiting; each process has a stack of its own

bench: install ## the figures of bench/RESULTS.md, measured here
	@$(BIN)/python -m bench

lint: install ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: install ## ruff, mending
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

types: install ## mypy
	@$(BIN)/mypy

generate: install ## the files made from others: types/, docs/access.md, docs/http-api.html
	@$(BIN)/python -m local_supabase generate
	@$(BIN)/python -m tests.rls.matrix
	@cd supabase/functions/ocpp && DENO_DIR=$(CURDIR)/.local/tools/deno $(CURDIR)/$(BIN)/deno task --quiet page

install: $(VENV)/.installed ## the Python environment, pinned

$(VENV)/.installed: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/pip || { echo "Making the Python environment in $(VENV)"; $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }; }
	@echo "Installing the pinned Python packages"
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
