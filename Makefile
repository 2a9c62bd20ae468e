# make paper  trains, unlearns, prices every choice and writes results/paper/index.html
# make test   passes the tests
# Both install what they need into .venv first, once per lock file.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
ARGS ?=

.PHONY: paper paper-offline test test-network lint clean
.DELETE_ON_ERROR:

paper: $(INSTALLED)
	$(PY) -m experiments.paper $(ARGS)

paper-offline: $(INSTALLED)
	$(PY) -m experiments.paper data=synthetic paper.folder=results/paper-offline $(ARGS)

test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto -m "not network" --cov=unlearn --cov-report=term:skip-covered --cov-fail-under=90 $(ARGS)

# The paper's claims on real loads, and the real download; needs a package index.
test-network: $(INSTALLED)
	$(PY) -m pytest -m network $(ARGS)

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# The stamp is newer than the lock file, so a second call installs nothing.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed, got $$($(PYTHON) --version); try make PYTHON=python3.12"; exit 1; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) build *.egg-info
