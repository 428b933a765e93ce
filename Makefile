# run        makes .venv, evolves configs/digits.yaml, promotes the winner as `digits`
# test       the quick tests, two at a time (JOBS=4: four); test-all: the slow ones too (SCALE=10 draws ten times as many)
# lint       exactly what CI checks; format: writes what lint would ask for
# bench      every study in experiments/ at smoke size
# lock       resolves requirements/lock.in anew (needs uv); clean: removes what was made, homes excepted
# check      the quick tests with every annotation checked while they run
#
# Needs Python 3.11 or newer, make and a C compiler. PYTHON=... names another Python, TORCH_ARGS=... adds arguments to
# the installation of torch (another index, a local file).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test test-all check lint format bench coverage lock clean

PYTHON ?=
TORCH_ARGS ?=
SCALE ?= 1
JOBS ?= 2
UV ?= uv
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := evolve fitness population tests experiments

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

run: $(VENV)/ready
	$(BIN)/evolve run configs/digits.yaml

test: $(VENV)/ready
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(JOBS) --dist loadfile --durations=10

test-all: $(VENV)/ready
	@status=0; \
	$(BIN)/python -m pytest -m "not alone" --numprocesses $(JOBS) --dist loadfile --scale $(SCALE) || status=1; \
	$(BIN)/python -m pytest -m alone --scale $(SCALE) || status=1; \
	exit $$status

check: $(VENV)/ready
	$(BIN)/python -m pytest -m "not slow" --runtime-types

lint: $(VENV)/ready
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/ready
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

coverage: $(VENV)/ready
	$(BIN)/coverage run -m pytest -m "not slow"
	$(BIN)/coverage combine
	$(BIN)/coverage report

bench: $(VENV)/ready
	@for study in experiments/*/smoke.sh; do \
	  [ -e "$$study" ] || { echo "no experiments/*/smoke.sh yet"; break; }; \
	  echo "== $$study"; PATH="$(abspath $(BIN)):$$PATH" sh "$$study" || exit 1; \
	done

lock:
	@command -v $(UV) >/dev/null || { echo "make lock needs uv (pip install uv), or UV=/path/to/uv"; exit 2; }
	$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-annotate --no-header --upgrade --quiet --output-file requirements/lock.txt requirements/lock.in

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f .coverage .coverage.*
	find evolve fitness population tests experiments -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment, made once: torch from its own file, the lock without resolving, then the project ------------------

$(VENV)/python:
	@python=; \
	for candidate in $(if $(PYTHON),$(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if command -v "$$candidate" >/dev/null 2>&1 && \
	     "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	[ -n "$$python" ] || { \
	  echo "Python 3.11 or newer is needed; found: $$($(or $(PYTHON),python3) --version 2>&1)."; \
	  echo "Install one, or name it: make run PYTHON=/path/to/python3.11"; exit 2; }; \
	echo "making $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(VENV) || { \
	  echo "python -m venv failed; Debian and Ubuntu keep it in a package of its own: apt install python3-venv"; exit 2; }
	@touch $@

$(VENV)/torch: $(VENV)/python requirements/torch.txt
	@echo "installing torch"
	@$(PIP) install --quiet $(TORCH_ARGS) --requirement requirements/torch.txt
	@touch $@

$(VENV)/locked: $(VENV)/torch requirements/lock.txt
	@echo "installing the pinned packages (about two minutes, once)"
	@$(PIP) install --quiet --require-hashes --no-deps --requirement requirements/lock.txt
	@touch $@

$(VENV)/ready: $(VENV)/locked pyproject.toml
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
