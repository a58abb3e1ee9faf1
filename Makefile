# `make run` and `make test` each set everything up first; both work alone in a fresh clone.
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= all
# By the shell: functions of make take a path with a space for two.
BIN := $(shell realpath -m "$(VENV)")/bin
export PATH := $(BIN):$(PATH)

.PHONY: run test test-cluster lint lock clean setup

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Weir needs Python 3.11; install it or pass PYTHON=/path/to/python3.11" >&2; exit 2; }
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/pip" install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	"$(BIN)/pip" install --quiet --disable-pip-version-check -r requirements.lock
	"$(BIN)/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup  ## The quickstart, through Snakemake, to the HTML report.
	snakemake --cores $(CORES)

test: setup  ## All tests but those of a cluster.
	"$(BIN)/python" -m pytest -n 2 --dist loadfile

test-cluster: setup  ## A real Slurm, shared stores and servers on this machine; as root.
	"$(BIN)/python" -m pytest -m cluster tests/cluster

lint: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	snakefmt --check workflow
	snakemake --lint

lock: setup  ## Write requirements.lock from what is installed.
	@{ head -2 requirements.lock; "$(BIN)/pip" list --format=freeze --exclude pip --exclude weir \
	  | sed 's/+cpu//' | LC_ALL=C sort -f; } > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:  ## Remove results and tracking, keep the DVC cache.
	rm -rf results data/raw data/processed logs .snakemake .weir
