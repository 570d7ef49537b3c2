# Every target makes its own virtual environment in .venv: nothing else has to be installed first than
# Python 3.11 or newer with venv, a C++ compiler, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= ==2.13.0+cpu
TORCH_TESTS := tests/diffusion tests/contract tests/engines tests/planner tests/workflow tests/cli/test_diffusion.py \
	tests/server/test_dialects_diffusion.py tests/server/test_comfy_diffusion.py tests/server/test_tasks.py tests/test_drop_in.py
SOURCES := pyproject.toml CMakeLists.txt $(wildcard native/*)

.PHONY: demo test test-diffusion test-weights test-cluster test-full check bench sanitize clean

demo: $(VENV)/.demo          ## fill a hole in a real photo and in a big generated one
	$(BIN)/reknit demo --output out/demo

test: $(VENV)/.test          ## the default test suite
	$(BIN)/python -m pytest -n 2

test-diffusion: $(VENV)/.torch  ## the tests of diffusion models and TorchScript, with PyTorch's CPU build
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(TORCH_TESTS)

test-cluster: $(VENV)/.test-cluster  ## the tests on a local Ray cluster and a played object store
	$(BIN)/python -m pytest -m "slow or not slow" tests/batch/test_on_ray.py tests/batch/test_object_store.py tests/server/test_on_ray.py

test-weights: $(VENV)/.torch  ## train a small inpainting model (minutes), and test the whole path on it
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m weights -s tests/diffusion

test-full: $(VENV)/.test     ## everything, also the slow tests
	$(BIN)/python -m pytest -n 2 -m "not weights"

check: $(VENV)/.check $(VENV)/.torch        ## style, types, layers
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

# PyTorch from PyPI brings gigabytes of CUDA on Linux; this version's CPU build does not.
$(VENV)/.torch: $(VENV)/.test
	$(BIN)/python -m pip install --disable-pip-version-check --quiet "torch$(TORCH)" \
		|| $(BIN)/python -m pip install --disable-pip-version-check --quiet \
			--index-url https://download.pytorch.org/whl/cpu "torch$(TORCH)"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[test,diffusion]"
	touch $@

$(VENV)/.%: $(VENV)/.made $(SOURCES)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) build out
