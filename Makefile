# Everything a person needs: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test check bench up

demo: $(VENV)/.demo
	$(BIN)/mlmodelscope evaluate EfficientNet-Lite0 --batch-size 1,2,4,8 --trace framework \
		--timeline demo-timeline.json.gz

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses=2 --no-loadscope-reorder

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks

up: $(VENV)/.demo
	$(BIN)/mlmodelscope up

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=python3.12 …"'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[onnxruntime,embedded]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --editable '.[onnxruntime,embedded,test]'
	touch $@
