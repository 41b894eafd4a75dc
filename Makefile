# Every target makes what it needs: `make demo` or `make test` alone is enough on a fresh machine.

PYTHON ?= python3
# Exactly one release: results stay comparable, and pip takes a CPU build of it (small) where one is offered
# to it, instead of a newer build for GPUs (gigabytes). `make setup TORCH=torch==2.14.1` takes another.
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help setup demo web web-test test lint types bench bench-ui faults screenshots docs clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## make the virtual environment with everything for developing

demo: $(VENV)/.demo ## train three small models on digits, then list, compare, search and plot them
	$(BIN)/python examples/vae_digits.py

web: web/dist/index.html ## build the page of `frameworm ui`, with Node 20.19 or newer

web-test: web/node_modules/.package-lock.json ## check the page's types and format, and test its pure parts
	cd web && npm run check && npm test

test: $(VENV)/.dev web web-test ## run the tests, the page's too; PYTEST='-k journal -x' passes options on
	$(BIN)/python -m pytest $(PYTEST)

lint: $(VENV)/.dev ## check style, format and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev ## check types, strictly
	$(BIN)/mypy

bench: $(VENV)/.dev ## measure beside eight peers, half an hour; BENCH='scalar --rounds 5' for a part
	$(BIN)/python -m benchmarks $(BENCH)

bench-ui: $(VENV)/.dev web ## measure the page in Chromium, and its peers' pages; BENCH_UI='table --rounds 3' for a part
	$(BIN)/python -m benchmarks.ui $(BENCH_UI)

faults: $(VENV)/.dev ## do harm: kill, cut the power, fill the disk; count what is lost; FAULTS='-k kill' picks rows
	$(BIN)/python -m faults $(FAULTS)

screenshots: $(VENV)/.dev web ## take a picture of each page, light and dark, into docs/images/
	$(BIN)/python docs/screenshots.py

docs: $(VENV)/.dev ## build the documentation into site/
	$(BIN)/python docs/cli_reference.py
	$(BIN)/python docs/http_reference.py
	$(BIN)/zensical build --clean --strict
	@echo "open site/index.html"

clean: ## remove what was built; .venv, demo/ and your experiments stay
	rm -rf build dist web/dist site .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests examples benchmarks faults docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ------------------------------------------------------------------------------ the virtual environment
# Stamps remember what is installed, and are made anew when pyproject.toml changes.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(BIN)/python
	@echo "Installing $(TORCH) (once; a few minutes)"
	$(PIP) "$(TORCH)"
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	$(PIP) -e ".[torch,examples]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.torch
	@echo "Installing the package and the tools for developing (once)"
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.demo

# ------------------------------------------------------------------------------ the page
# Only when its sources have changed.

WEB_SOURCES := $(shell find web/src -type f 2>/dev/null) $(wildcard web/*.*)

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' || \
		{ echo "Node 20.19 or newer is needed to build the page (with npm): see nodejs.org"; exit 1; }
	cd web && npm ci --no-audit --no-fund
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run build
	@touch $@
