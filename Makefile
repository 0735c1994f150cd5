# Two commands do everything: `make demo` and `make test`. Both make their own virtual environment.
PYTHON ?= python3
VENV ?= .venv
TEST_VENV ?= .venv-test

.PHONY: demo browser test test-slow test-lowest fuzz audit sbom lint format docs clean

demo: $(VENV)/.installed
	$(VENV)/bin/whyface demo

# One process a core, each with one thread; all tests of a file run in the same one, for they share what they made.
# COVERAGE=1 also reports how much of the package the tests run; it takes half as long again.
test: $(TEST_VENV)/.installed
	OMP_NUM_THREADS=1 $(TEST_VENV)/bin/python -m pytest -n auto --dist loadfile $(if $(COVERAGE),--cov)

# The tests of the page drive a real browser, the system's Chromium, and ONNX Runtime Web; without them they are skipped.
browser:
	@command -v chromium >/dev/null || (apt-get update -q && apt-get install -q -y --no-install-recommends chromium) \
		|| echo "no Chromium and no way to install it: the tests of the page will be skipped"
	@mkdir -p out; test -f out/onnxruntime-web-1.30.0.tgz || npm pack --silent --pack-destination out onnxruntime-web@1.30.0 \
		|| echo "ONNX Runtime Web was not fetched: the tests of the page in the browser will be skipped"

test-slow: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/python -m pytest -m slow

# Spoilt files of every kind by the thousand; what is found is kept in out/fuzz.
N ?= 20000
SEED ?= 0
fuzz: $(TEST_VENV)/.installed
	PYTHONPATH=tests $(TEST_VENV)/bin/python -m hostile.fuzz --count $(N) --seed $(SEED) --keep out/fuzz

# The lowest versions that pyproject.toml allows. PyTorch's are left out: they are gigabytes.
LOWEST_VENV ?= .venv-lowest
test-lowest: $(LOWEST_VENV)/.installed
	$(LOWEST_VENV)/bin/python -m pytest tests/files tests/faces tests/gallery tests/batch tests/evaluate tests/hostile \
		tests/models/test_onnx_embedder.py tests/cli/test_cli.py

$(LOWEST_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LOWEST_VENV)
	$(LOWEST_VENV)/bin/python -m pip install --quiet uv
	$(LOWEST_VENV)/bin/uv pip install --quiet --python $(LOWEST_VENV)/bin/python --resolution lowest-direct \
		--editable '.[evaluate,ann,heif,encrypt]' 'onnx>=1.16' 'pytest>=8.2' 'pytest-xdist>=3.5' 'hypothesis>=6.100'
	touch $@

# Known weaknesses of the libraries (status 77: its service was not reached), and the bill of materials, out/sbom.json.
TOOLS_VENV ?= .venv-tools
audit: $(VENV)/.installed $(TOOLS_VENV)/.installed
	.ci/audit $(VENV) $(TOOLS_VENV)

sbom: $(VENV)/.installed $(TOOLS_VENV)/.installed
	.ci/sbom $(VENV) $(TOOLS_VENV) out/sbom.json

$(TOOLS_VENV)/.installed:
	$(PYTHON) -m venv $(TOOLS_VENV)
	$(TOOLS_VENV)/bin/python -m pip install --quiet 'pip-audit>=2.7' 'cyclonedx-bom>=4'
	touch $@

lint: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/mypy

format: $(TEST_VENV)/.installed
	$(TEST_VENV)/bin/ruff check --fix .
	$(TEST_VENV)/bin/ruff format .

# A strict build: a broken link or a load from another host ends it (but not with --quiet, which drops warnings).
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build
	@echo "The site is in site/; look at it with: $(VENV)/bin/python -m http.server -d site"

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet .
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(VENV)/bin/python -m pip install --quiet '.[docs]'
	touch $@

$(TEST_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(TEST_VENV) $(LOWEST_VENV) $(TOOLS_VENV) build dist site
