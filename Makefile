# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
DEMO_VENV := .venv-demo
DEMO_OUTPUT := demo-output
PIP_FLAGS := --quiet --disable-pip-version-check --require-hashes

.PHONY: demo test lint lock clean

demo: $(DEMO_VENV)/installed
	@$(DEMO_VENV)/bin/python examples/demo.py examples/samples $(DEMO_OUTPUT)

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/installed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python scripts/check_licences.py

# The base install: what predicting needs, and no torch.
$(DEMO_VENV)/installed: requirements/base.txt pyproject.toml $(shell find src -type f -not -name '*.pyc')
	@echo "installing the base package into $(DEMO_VENV) ..."
	@test -x $(DEMO_VENV)/bin/python || $(PYTHON) -m venv $(DEMO_VENV)
	@$(DEMO_VENV)/bin/python -m pip install $(PIP_FLAGS) -r requirements/base.txt
	@$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall .
	@touch $@

$(VENV)/installed: requirements/test.txt pyproject.toml
	@echo "installing everything, torch included, into $(VENV) (some 6 GB) ..."
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install $(PIP_FLAGS) -r requirements/test.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Needs uv (`pip install uv`); see requirements/README.md.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
lock:
	$(LOCK) pyproject.toml requirements/build.in -o requirements/base.txt
	$(LOCK) --extra onnxruntime pyproject.toml requirements/build.in requirements/test.in -c requirements/base.txt -o requirements/test.txt

clean:
	rm -rf $(VENV) $(DEMO_VENV) $(DEMO_OUTPUT) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
