"""The hash of what code imports: it changes with the source that a computation runs, and with nothing else."""

import importlib
import itertools
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from unlearn.errors import InputError
from unlearn.store import dependencies, sources
from unlearn.store.dependencies import _walked, roots

#: A library in small: a lazy package, one that imports at once, and what draws figures.
FILES = {
    "__init__": "from .fit import fit\nfrom .figure import draw\n",
    "fit": '"""Fits."""\nfrom .rooms import LIMIT, solve\nimport NAME.data as d\n\ndef fit(x):\n'
    '    "Docs."\n    from . import late\n    return solve(x, LIMIT, d.load(), late)  # a comment\n',
    "figure": "from .fit import fit\n\ndef draw(x): return fit(x)\n",
    "late": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .checked import C\nVALUE = 1\n",
    "checked": "C = int\n",
    "rooms/__init__": "from typing import TYPE_CHECKING\nfrom importlib import import_module\n"
    "if TYPE_CHECKING:\n    from .solvers import solve, LIMIT\n    from .other import unused\n"
    "def __getattr__(name): return getattr(import_module('NAME.rooms.solvers'), name)\n",
    "rooms/solvers": "from ..ground import need\nLIMIT = 3\n\ndef solve(*a): return need(*a)\n",
    "rooms/other": "def unused(): ...\n",
    "ground": "def need(*a): return a\n",
    "data/__init__": "from .load import load\nfrom .store import store\n",
    "data/load": "def load(): return 1\n",
    "data/store": "def store(): return 2\n",
}  # fmt: skip
NEEDED = {"fit", "late", "rooms/solvers", "ground", "data/load"}
_numbers = itertools.count()


def modules_of(*code: object) -> tuple[str, ...]:
    """All modules whose source counts."""
    return _walked(roots(*code))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small library in a folder of its own, under a name that no other test has."""
    folder = tmp_path / f"small{next(_numbers)}"
    for name, text in FILES.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("NAME", folder.name))
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def hashed(code: object) -> str:
    """The hash in a new process, which has read no source yet."""
    for cached in (dependencies._hash_of, dependencies._walked, dependencies._facts, dependencies._is_package):
        cached.cache_clear()
    return sources(code)


def test_only_the_modules_that_define_what_is_used_count(package: Path) -> None:
    wanted = {f"{package.name}.{name}".replace("/", ".") for name in NEEDED}
    assert set(modules_of(f"{package.name}.fit")) == wanted
    assert package.name not in sys.modules, "nothing is run to find it"


@pytest.mark.parametrize("name", FILES)
def test_the_hash_changes_with_what_is_imported_and_nothing_else(package: Path, name: str) -> None:
    code = f"{package.name}.fit"
    file, before = package / f"{name}.py", hashed(code)
    text = file.read_text()
    file.write_text(f'"""Other words."""\n{text}\n# more words\n"""and more"""\n')
    assert hashed(code) == before
    file.write_text(f"{text}\nMORE = 1\n")
    assert (hashed(code) != before) == (name in NEEDED)
    file.write_text(text)
    assert hashed(code) == before


def test_what_stands_for_code(package: Path) -> None:
    module = importlib.import_module(f"{package.name}.fit")
    same = {sources(module), sources(module.fit), sources(partial(module.fit, 1)), sources(module.__name__)}
    assert len(same) == 1
    assert sources(module.fit, module) == sources(module) != sources(f"{package.name}.figure")
    # A package is all modules in it.
    inside = {f"{package.name}.data", f"{package.name}.data.load", f"{package.name}.data.store"}
    assert set(modules_of(f"{package.name}.data")) == inside


def test_a_package_that_is_used_by_attributes_counts_by_them(package: Path) -> None:
    (package / "fit.py").write_text(f"import {package.name}.data\n\ndef fit(): return {package.name}.data.load()\n")
    assert set(modules_of(f"{package.name}.fit")) == {f"{package.name}.fit", f"{package.name}.data.load"}


def test_a_module_of_the_users_own_counts_with_what_it_takes_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"own{next(_numbers)}.py"
    file.write_text("from unlearn import MSE\nimport numpy\n\nclass Own(MSE): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module(file.stem).Own
    found = modules_of(own)
    assert {file.stem, "unlearn.criteria", "unlearn.errors"} <= set(found)
    assert not [name for name in found if name.startswith(("numpy", "unlearn.generators", "unlearn.studies"))]
    before = hashed(own())
    file.write_text(file.read_text() + "LIMIT = 1\n")
    assert hashed(own()) != before


def test_a_name_that_only_running_the_package_tells(package: Path) -> None:
    init = package / "rooms" / "__init__.py"
    init.write_text("\n".join(line for line in init.read_text().splitlines() if "import_module" in line))
    (package / "late.py").write_text("from .rooms import solve\n")
    assert f"{package.name}.rooms.solvers" in modules_of(f"{package.name}.late")
    (package / "figure.py").write_text("from .rooms import LIMIT\n")
    with pytest.raises(InputError, match=rf"{package.name}.rooms.LIMIT .* TYPE_CHECKING"):
        sources(f"{package.name}.figure")


def compiled(package: Path) -> str:
    import py_compile

    file = package / "late.py"
    py_compile.compile(str(file), cfile=str(file.with_suffix(".pyc")))
    file.unlink()
    return f"{package.name}.late"


@pytest.mark.parametrize("code", [compiled, lambda _: "no_such_module", lambda _: 3])
def test_code_without_source_is_refused(package: Path, code: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=r"\.py file"):
        sources(code(package))


def test_a_script_is_its_file(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text("from unlearn.store import sources\n\ndef own(): ...\n\nprint(sources(own))\n")

    def said() -> str:
        return subprocess.run([sys.executable, file], capture_output=True, text=True, check=True).stdout

    before = said()
    file.write_text(file.read_text() + "\nVALUE = 1\n")
    assert len(before.strip()) == 12
    assert said() != before


def test_no_fit_of_a_forecaster_depends_on_figures_studies_or_generators() -> None:
    own = {"checks", "data", "dp", "errors", "forecasters", "lazy", "limits", "linalg", "records", "registry", "store",
           "temporary"}  # fmt: skip
    # A network may be trained on a criterion, and that on a grid; what is solved in closed form may not.
    for module, more in (("base", set()), ("network", {"criteria", "grid"})):
        found = modules_of(f"unlearn.forecasters.{module}")
        assert {name.split(".")[1] for name in found} <= own | more
    assert not {name for name in found if "report" in name or "verdict" in name}
