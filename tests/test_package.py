"""The package as a whole: what importing it costs, and that it offers what it says."""

import ast
import builtins
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import unlearn
from unlearn.checks import require_package
from unlearn.errors import MissingPackageError

MODULES = [unlearn.__name__, *(m.name for m in pkgutil.walk_packages(unlearn.__path__, "unlearn."))]
PACKAGES = ["unlearn", *(m.name for m in pkgutil.walk_packages(unlearn.__path__, "unlearn.") if m.ispkg)]
ROOMS = ("criteria", "data", "errors", "forecasters", "grid", "influence", "linalg", "records", "unlearning")
#: Packages that take long to import, or that only some of the library needs.
HEAVY = {"cvxpy", "hydra", "matplotlib", "omegaconf", "openpyxl", "pandas", "pyarrow", "scipy", "sklearn", "torch"}


def loaded_by(code: str) -> set[str]:
    """Packages that a fresh process has loaded after running some code."""
    code = f"{code}\nimport sys; print(*(name.split('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


#: Modules of options that a study or a protocol takes.
OPTIONS = ["unlearn.data.splits", *(name for name in MODULES if name.endswith(".options"))]


def test_options_are_imported_without_what_they_are_options_of():
    assert len(OPTIONS) > 5
    assert not loaded_by(f"import {', '.join(OPTIONS)}") & HEAVY


def test_importing_the_library_loads_nothing_heavy_until_it_is_asked_for():
    assert not loaded_by("import unlearn; dir(unlearn); unlearn.UnlearnError") & {*HEAVY, "numpy"}
    assert loaded_by("from unlearn import forget") >= {"torch", "pandas"}
    assert not loaded_by("from unlearn import *") & {"cvxpy", "hydra", "matplotlib", "omegaconf", "openpyxl"}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_on_offer_exists_once_and_type_checkers_see_it(name):
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", [])
    assert len(set(offered)) == len(offered)
    tree = ast.parse(inspect.getsource(module))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    typed = {a.asname or a.name for i in imports for a in i.names} - {"TYPE_CHECKING", "lazily"}
    assert typed == set(offered) - {"__version__"}
    for entry in offered:
        assert entry in dir(module)
        assert hasattr(module, entry), f"{name}.{entry}"
    modules = {part.name for part in pkgutil.iter_modules(module.__path__)}
    clash = {entry for entry in modules & set(offered) if not inspect.ismodule(getattr(module, entry))}
    assert not clash, "importing the module would replace the name"


def test_a_name_that_is_not_there_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match=r"'unlearn\.data' has no attribute 'load_datasets'"):
        unlearn.data.load_datasets  # noqa: B018
    with pytest.raises(ImportError, match="load_datasets"):
        from unlearn.data import load_datasets  # noqa: F401


def test_every_module_says_what_it_is():
    for name in MODULES:
        if name.split(".")[1:2] in ([], *([room] for room in ROOMS)):
            assert importlib.import_module(name).__doc__, name


@pytest.mark.parametrize(
    ("missing", "module"),
    [
        ("matplotlib", "unlearn.reporting.figure"),
        ("jinja2", "unlearn.reporting.page"),
        ("matplotlib", "unlearn.studies.paper.report"),
        ("hydra", "experiments.train"),
    ],
)
def test_a_missing_extra_is_named_with_what_installs_it(missing, module):
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from unlearn.errors import UnlearnError\n"
        f"try:\n    import {module}\n"
        "except UnlearnError as error:\n    print(isinstance(error, ImportError), error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True ")
    assert f"expected the package {missing}, which cannot be imported" in done.stdout
    assert 'Run pip install "unlearn[experiments]".' in done.stdout


def test_a_program_without_its_extra_ends_with_the_sentence_alone():
    code = (
        "import runpy, sys; sys.modules['hydra'] = None; sys.argv = ['-m']\n"
        "runpy.run_module('experiments.train', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("experiments: expected the package hydra, which cannot be imported")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("error", [None, ModuleNotFoundError("gone"), ImportError("a broken library")])
def test_a_package_that_cannot_be_imported_is_refused_however_that_fails(monkeypatch, error):
    if error is None:
        monkeypatch.setitem(sys.modules, "some_extra", None)
    else:

        def refuse(name, *arguments, **options):
            if name == "some_extra":
                raise error
            return whole(name, *arguments, **options)

        whole = builtins.__import__
        monkeypatch.setattr("builtins.__import__", refuse)
    with pytest.raises(MissingPackageError, match=r'^x: expected the package some_extra.* pip install "unlearn\[y\]"'):
        require_package("x", "some_extra", '"unlearn[y]"')
