# Two commands: `make demo` and `make test`. Both set everything up first.
VENV ?= .venv
# operators of mmcv: torchvision or compiled; empty for those that VENV has
MMCV ?=
PYTHON ?= python3
WORK_DIR ?= work_dirs/demo
JOBS ?= 2
# abspath would split a path at its spaces
BIN := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
SHELL := /bin/bash

.PHONY: help setup lock demo test test-all soak lint clean

help:
	@echo "make demo    set up, then photographs -> pretraining -> detection and segmentation -> report"
	@echo "make test    set up, then every check, and the tests but long ones"
	@echo "make test-all  the long tests too"
	@echo "make soak    hours: kills trainings and damages files at random; goes on where it was stopped"
	@echo "make setup   only set up the environment in VENV (now: $(VENV)); MMCV=compiled compiles mmcv"
	@echo "make lint    ruff and mypy"
	@echo "make clean   remove build leftovers (keeps $(VENV) and work_dirs)"

# An old Python would stop at the program's syntax with nothing that helps.
setup:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: $(PYTHON) is not Python 3.10 or newer: name one that is, as in" \
	    "make $(or $(firstword $(MAKECMDGOALS)),setup) PYTHON=python3.11"; exit 1; }
	@"$(PYTHON)" tools/setup_env.py --venv "$(VENV)" $(if $(MMCV),--mmcv "$(MMCV)")

# Pins anew what pyproject.toml declares; versions that still serve stay.
lock: setup
	"$(BIN)/uv" pip compile pyproject.toml --universal --python-version 3.10 --quiet \
	  --no-header --no-annotate $(addprefix --extra ,transfer lmdb export demo dev docs) \
	  --output-file requirements/lock.txt

demo: setup
	@"$(BIN)/python" tools/demo.py --work-dir "$(WORK_DIR)"

lint: setup
	"$(BIN)/python" -m ruff check .
	"$(BIN)/python" -m mypy

# Files of tests are shared out over JOBS processes of one thread each: two that use all cores at
# once slow each other down.
test: lint
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# those too that are marked long
test-all: lint
	OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -m ""

# Trials are kept in SOAK and not repeated: remove the file to begin again.
SOAK ?= work_dirs/soak/trials.jsonl
soak: setup
	OMP_NUM_THREADS=1 "$(BIN)/python" tools/soak.py --out "$(SOAK)"

clean:
	rm -rf build dist ./*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path "./$(VENV)/*" -type d -prune -exec rm -rf {} +
