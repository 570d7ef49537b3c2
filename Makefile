# Every target makes its own virtual environment in .venv: nothing else has to be installed first than
# Python 3.11 or newer with venv, a C++ compiler, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml CMakeLists.txt $(wildcard native/*)

.PHONY: demo test test-full check bench sanitize clean

demo: $(VENV)/.demo          ## fill a hole in a real photo and in a big generated one
	$(BIN)/reknit demo --output out/demo

test: $(VENV)/.test          ## the default test suite
	$(BIN)/python -m pytest -n 2

test-full: $(VENV)/.test     ## everything, also the slow tests
	$(BIN)/python -m pytest -n 2 -m "slow or not slow"

check: $(VENV)/.check        ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror native/*.cpp native/*.hpp

bench: $(VENV)/.bench        ## measure, and write docs/benchmarks.md
	$(BIN)/python -m bench all --docs docs/benchmarks.md

sanitize: $(VENV)/.test      ## native tests under AddressSanitizer and UndefinedBehaviourSanitizer
	tests/native/sanitize.sh $(BIN)/python

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.%: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) build out
