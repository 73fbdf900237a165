# Two commands do everything, on a machine with git, make and Python >= 3.11: `make run` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
LOWEST := .venv-lowest/bin
EXTRAS := dvc,prefect,heic,parquet,tensorboard,mlflow,dev
# DVC runs `python -m stages...`: let it find the environment's python.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
# Containers often forbid bytecode; then every stage would compile torch anew, for 2 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-lowest install lint types params figures lock constraints clean

run: install  ## install, then search, grow, train and export (only what changed runs)
	aso-se run

test: install  ## install, then run the tests
	OMP_NUM_THREADS=1 pytest -n auto --dist loadgroup

test-lowest: export PATH := $(CURDIR)/$(LOWEST):$(PATH)
test-lowest: .venv-lowest/installed  ## install the lowest versions that pyproject.toml allows, then run the tests
	OMP_NUM_THREADS=1 pytest -n auto --dist loadgroup

install: .venv/installed

# Installed again when a dependency changes; otherwise this takes no time.
.venv/installed: pyproject.toml constraints.txt $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --build-constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

# uv compares every file that it downloads with the hashes in constraints.txt, pip those of uv.
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; name it: make run PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' constraints.txt >.venv/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/uv.txt

# Made from nothing, for uv keeps what is installed. constraints.txt is left out: it holds newer versions.
.venv-lowest/installed: pyproject.toml $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip install --quiet --python $(LOWEST)/python --resolution lowest-direct --editable '.[$(EXTRAS)]'
	touch $@

lint: install
	ruff check .
	ruff format --check .
	lint-imports --no-cache --no-logo

types: install
	mypy

params: install  ## write docs/params.md, params.schema.json and params.yaml from the models and profiles/digits.yaml
	$(BIN)/python -m pipeline.documenting

figures: install  ## write the figures of the committed run into README and docs/results.md
	$(BIN)/python -m pipeline.default_run

lock: install  ## does dvc.lock belong to the tree?
	./.ci/lock

constraints: install  ## write constraints.txt for the dependencies in pyproject.toml; known versions stay
	printf 'pip\nuv\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-header --no-annotate --output-file constraints.txt pyproject.toml -

clean:
	rm -rf .venv .venv-lowest
