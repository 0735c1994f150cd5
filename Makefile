# Two commands do everything: `make demo` and `make test`. Both make their own virtual environment.
PYTHON ?= python3
VENV ?= .venv
TEST_VENV ?= .venv-test

.PHONY: demo test test-slow lint format clean

demo: $(VENV)/.installed
	$(VENV)/bin/whyface demo

test: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/python -m pytest

test-slow: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/python -m pytest -m slow

lint: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy

format: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check --fix .
	$(TEST_VENV)/bin/ruff format .

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet .
	touch $@

$(TEST_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(TEST_VENV) build dist
