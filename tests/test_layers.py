"""The direction of imports: a module imports only from layers below its own."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import unlearn

LAYERS = [
    {"errors", "checks", "guard", "lazy", "limits", "records", "registry", "store", "temporary", "ledger"},
    {"linalg", "data", "grid", "dp", "reporting"},
    {"households", "criteria"},
    {"forecasters"},
    {"influence"},
    {"unlearning", "generators", "detectors", "attacks", "privacy"},
    {"studies"},
    {"services"},
]
ROOT = Path(unlearn.__file__).parent
# The package itself, and its command, stand above all rooms.
MODULES = sorted(path for path in ROOT.rglob("*.py") if path not in (ROOT / "__init__.py", ROOT / "__main__.py"))


def room(name: str) -> str:
    return name.removeprefix("unlearn.").split(".")[0]


def layer(name: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room(name) in rooms)


def nodes(tree: ast.AST, later: bool) -> Iterator[ast.AST]:
    """All nodes; without `later`, those that run on import: not in functions, nor what type checkers alone read."""
    for node in ast.iter_child_nodes(tree):
        typed = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if later or not (typed or isinstance(node, ast.FunctionDef)):
            yield node
            yield from nodes(node, later)


def imported(path: Path, later: bool = True) -> set[str]:
    found = set()
    for node in nodes(ast.parse(path.read_text()), later):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                pytest.fail(f"{path}: relative import; write the full name")
            found |= {f"unlearn.{a.name}" for a in node.names} if node.module == "unlearn" else {node.module or ""}
    return {name for name in found if name.startswith("unlearn.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_import_points_upward(path: Path) -> None:
    own = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for name in imported(path):
        if room(name) == room(own):
            continue
        assert layer(name) <= layer(own), f"{own} imports {name} from a layer above"
        # Rooms of one layer do not know each other, but for what layer 0 shares.
        assert layer(name) < layer(own) or layer(own) == 0, f"{own} imports {name} from its own layer"


@pytest.mark.parametrize("path", sorted((ROOT / "studies").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_study_imports_another(path: Path) -> None:
    own = path.relative_to(ROOT / "studies").parts[0]
    others = {name.split(".")[2] for name in imported(path) if name.startswith("unlearn.studies.")} - {own, "_shared"}
    assert not others, f"{path} imports {others}: what studies share is in unlearn.studies._shared"


def test_no_modules_import_each_other_in_a_circle() -> None:
    # A package imports what it offers once that is asked for: whoever asks it imports all of it here.
    graph = {
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): imported(path, path.name == "__init__.py")
        for path in MODULES
    }
    packages = {name.removesuffix(".__init__"): name for name in graph if name.endswith(".__init__")}
    arrows = {name: {packages.get(other, other) for other in others} - {name} for name, others in graph.items()}
    list(TopologicalSorter(arrows).static_order())  # raises CycleError


def test_the_library_never_imports_hydra() -> None:
    for path in MODULES:
        text = path.read_text()
        assert "import hydra" not in text, path
        assert "omegaconf" not in text, path


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert max(lengths.values()) <= 400, max(lengths, key=lambda path: lengths[path])
