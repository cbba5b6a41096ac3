# Two commands for a newcomer, each doing all of its own set-up:
#   make sample    4000 degraded pairs from the photographs that ship with scikit-image
#   make test      lint, types and tests
# and four for whoever changes something (CONTRIBUTING.md):
#   make quick     the tests that are not slow, a minute and a half on two cores
#   make lint      formatting, lint and types
#   make hooks     lint what is committed, on every commit
#   make schema    the JSON schema of configurations, after an option has changed
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard csrc/*.* csrc/*/*.* csrc/ops/*/*.*) CMakeLists.txt setup.py
CPP := $(shell find csrc tests benchmarks -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: all sample test quick lint hooks schema fuzz bench peers clean
all: $(VENV)/built

# The environment: once, and again when the requirements change.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  torch "setuptools>=77" wheel "pybind11>=3.0" "ninja>=1.11" "cmake>=3.22"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  --no-build-isolation --editable ".[dev]"
	touch $@

# The compiled module: again when a source changes.
$(VENV)/built: $(VENV)/ready $(SOURCES)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

schema: $(VENV)/built
	$(BIN)/pytrain schema -o configs/pytrain.schema.json

sample: $(VENV)/built
	$(BIN)/degrade sample --tasks 4000 --out out/sample

test: $(VENV)/built lint
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(ARGS)

quick: $(VENV)/built
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 8 $(ARGS)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	$(BIN)/mypy

hooks: $(VENV)/ready
	$(BIN)/pre-commit install

fuzz: $(VENV)/built
	$(BIN)/python -m tests.fuzz $(or $(ARGS),all --jobs 2 --out out/fuzz.jsonl)

bench: $(VENV)/built
	$(BIN)/python -m benchmarks $(ARGS)

# Libraries that the benchmarks compare with. basicsr builds with the torch that is here.
peers: $(VENV)/built
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-peers.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation basicsr==1.4.2

clean:
	rm -rf build $(VENV) out pydegrade/_C*.so pydegrade/_cuda.so pydegrade.egg-info
