# Two commands: 'make up' runs everything, 'make test' tests everything. Both install what is missing first.
.PHONY: reference screenshots sbom audit digests help setup setup-lint setup-dev up down test test-compose chaos lint format lock
.DEFAULT_GOAL := help
BIN := .venv/bin

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with the locked packages; all that docker compose and a site need
	@scripts/setup.sh

setup-lint: ## the same, with the tools for lint and tests
	@scripts/setup.sh requirements-dev.lock

setup-dev: ## the same, with Debian's servers, and what the tests need beside them
	@scripts/setup.sh requirements-dev.lock servers tests

up: ## install Debian's servers too, and run the stack: two sites, one bot, monitoring (make up ARGS=--detach)
	@scripts/setup.sh requirements.lock servers
	@$(BIN)/rectbot init
	@exec $(BIN)/rectbot up $(ARGS)

down: ## stop the stack
	@$(BIN)/rectbot down

# Four at once, since most tests wait for servers; a file stays with one worker, which has the stack its tests share.
# Whole stacks are heavier: two of them at once.
PYTEST := $(BIN)/python -m pytest --max-worker-restart=0 --dist loadfile --no-loadscope-reorder

TIERS := tests/*/unit tests/unit tests/simulation tests/*/integration tests/integration

test: setup-dev ## run the tests, fast tiers first (make test ARGS=tests/unit)
	@$(PYTEST) -n 4 $(or $(ARGS),$(TIERS))
	@$(if $(ARGS),,$(PYTEST) -n 2 tests/e2e)

test-compose: setup-dev ## run the compose file on a Docker engine of the test's own (root; minutes)
	@$(BIN)/python -m pytest tests/compose --timeout 900 $(ARGS)

chaos: setup-dev ## the failover: 1,000 seeds of real processes, planted faults, then simulated schedules until Ctrl-C
	@$(if $(ARGS),,RECTBOT_SEEDS=1000 $(BIN)/python -m pytest tests/e2e/test_failover_processes.py tests/integration/test_planted_in_processes.py)
	@PYTHONPATH=tests $(BIN)/python -m simulation.chaos $(ARGS)

reference: setup-lint ## docs/reference from the code: settings, metrics, alerts, commands
	@$(BIN)/python scripts/reference.py

screenshots: setup-dev ## docs/images from a console that watches a story of some minutes
	@PYTHONPATH=tests $(BIN)/python scripts/screenshots.py

lint: setup-lint ## ruff, mypy, import-linter and shellcheck
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/shellcheck .ci/run scripts/*.sh docker/bot/entrypoint.sh

format: setup-lint ## let ruff format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## renew the lock files from pyproject.toml (needs uv)
	@scripts/lock.sh

# For whoever has a network; not part of the tests. The tools come and go: they are no dependency of ours.
audit: ## ask the advisory database about the locked Python packages (network)
	@$(BIN)/python -m venv --clear var/tools && var/tools/bin/pip install --quiet pip-audit && \
		var/tools/bin/pip-audit --require-hashes --disable-pip -r requirements.lock

sbom: ## the bill of materials of the locked Python packages, CycloneDX JSON in var/sbom.json (network)
	@$(BIN)/python -m venv --clear var/tools && var/tools/bin/pip install --quiet cyclonedx-bom && \
		var/tools/bin/cyclonedx-py requirements requirements.lock --output-file var/sbom.json && echo "var/sbom.json is written"

digests: ## write each image's digest beside its tag in the compose file (docker and a network)
	@scripts/digests.sh
