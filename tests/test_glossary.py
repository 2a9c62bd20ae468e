"""The glossary says where each term is in the code, and words that it replaced do not come back."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import unlearn

ROOT = Path(unlearn.__file__).parent
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT.parent / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
][1:]
#: Words of earlier versions: of each, docs/glossary.md has another one.
OLD = {
    "book", "books", "cascade", "heart", "judge", "memorised", "memorising", "mended", "remedies", "remedy", "undone",
    "world", "worlds",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[2])}))
def test_where_it_is_in_the_code(name: str) -> None:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            fields = getattr(found, "__dataclass_fields__", {})
            found = fields[part] if part in fields else getattr(found, part)
        return
    pytest.fail(f"{name}: no such module")


def test_every_term_is_told_once_with_its_place_and_source() -> None:
    assert len({row[0] for row in ROWS}) == len(ROWS)
    assert all(len(row) == 4 and all(row) for row in ROWS)


def names(tree: ast.Module) -> Iterator[str]:
    """Classes, functions, parameters and what is assigned outside of functions, public ones."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        for node in ast.iter_child_nodes(nodes.pop()):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                yield node.name
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                nodes.append(node)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield from (argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg))
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (own.id for own in targets if isinstance(own, ast.Name) and not own.id.startswith("_"))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_public_name_has_an_old_word(path: Path) -> None:
    for name in names(ast.parse(path.read_text(encoding="utf-8"))):
        words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))
        assert not words & OLD, f"{name}: docs/glossary.md has another word for {', '.join(words & OLD)}"
