# Two commands for a newcomer, each doing all of its own set-up:
#   make sample    4000 degraded pairs from the photographs that ship with scikit-image
#   make test      lint, types and tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard csrc/*.h csrc/*.cpp csrc/*/*.h csrc/*/*.cpp csrc/*/*.cu csrc/*/*.cuh) CMakeLists.txt setup.py

.PHONY: all sample test lint bench clean
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

sample: $(VENV)/built
	$(BIN)/degrade sample --tasks 4000 --out out/sample

test: $(VENV)/built lint
	$(BIN)/python -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/built
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf build $(VENV) out pydegrade/_C*.so pydegrade/_cuda.so pydegrade.egg-info
