"""The package as a whole: what importing it costs, and that it offers what it says."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import unlearn

MODULES = [unlearn.__name__, *(m.name for m in pkgutil.walk_packages(unlearn.__path__, "unlearn."))]
ROOMS = ("criteria", "data", "errors", "forecasters", "grid", "influence", "linalg", "records", "unlearning")


def test_importing_the_library_loads_neither_hydra_nor_matplotlib_nor_openpyxl():
    code = (
        "import sys, unlearn; print([m for m in ('hydra', 'omegaconf', 'matplotlib', 'openpyxl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["unlearn", *(f"unlearn.{room}" for room in ROOMS)])
def test_every_name_on_offer_exists_once(name):
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", [])
    assert len(set(offered)) == len(offered)
    for entry in offered:
        assert hasattr(module, entry), f"{name}.{entry}"


def test_every_module_says_what_it_is():
    for name in MODULES:
        if name.split(".")[1:2] in ([], *([room] for room in ROOMS)):
            assert importlib.import_module(name).__doc__, name
