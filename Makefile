# `make demo`: real data to a measured, exported Pareto front; `make demo-text`: a language model. `make test`: all tests. `make check`: style, types, layers.
PYTHON ?= python3
VENV := .venv
PIP_FLAGS ?=  # such as an index of PyTorch's CPU builds
BIN := $(VENV)/bin

.PHONY: demo demo-text test check install runtimes clean

demo: $(VENV)/.installed
	$(BIN)/hwnas run experiments/digits.yaml --out runs/digits

demo-text: $(VENV)/.installed
	$(BIN)/hwnas run experiments/text/pydoc_lm.yaml --out runs/pydoc_lm

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not serial and not models" --durations=15
	$(BIN)/python -m pytest -m serial --durations=15
	$(BIN)/python -m pytest -m models -rs

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hwnas needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Everything optional: runtimes besides onnxruntime, Dask, PostgreSQL's driver, TensorBoard, QONNX, Optuna's dashboard, scikit-image, onnxscript; tests of what is missing are skipped.
runtimes: $(VENV)/.installed-dev
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --disable-pip-version-check -c constraints.txt -e '.[openvino,tvm,dask,postgresql,tensorboard,qonnx,dashboard,pictures,adopt,text,gguf]'
	if command -v npm > /dev/null; then cd latency_tables/runtimes/web && npm ci --silent --ignore-scripts --no-audit --no-fund; fi

clean:
	rm -rf $(VENV) build dist *.egg-info
