"""What a computation depends on: a hash of the source of the modules that it imports, walked and never run.

A name that is taken from a package depends on the module that defines it, not on everything that the `__init__` offers.
Docstrings and comments change no hash: editing them makes nothing anew.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from unlearn.errors import InputError

#: This library, whose modules are followed from wherever they are imported.
_LIBRARY = __name__.partition(".")[0]
_MAIN = ("__main__", "__mp_main__")


def sources(*code: object) -> str:
    """Return 12 digits that identify the source of everything that some code imports.

    Imports are followed into this library and into the package (or the file) that the code itself is from, also those
    within functions, but not those for type checkers alone. Each module is read once a process: the hash is that of the
    source as it was then.

    Args:
        code: functions, classes, objects (whose class counts), modules, or names of modules. A package stands for all
            modules in it.

    Raises:
        InputError: code without source, such as one typed into a console, or compiled files alone.
    """
    return _hash_of(roots(*code))


def roots(*code: object) -> tuple[str, ...]:
    """Names of the modules that some code is from; see `sources`."""
    return tuple(sorted({_module_of(one) for one in code}))


@cache
def _hash_of(names: tuple[str, ...]) -> str:
    text = "".join(f"{name} {_facts(name).digest}\n" for name in _walked(names))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _walked(names: tuple[str, ...]) -> tuple[str, ...]:
    """All modules that these and what they import are made of."""
    followed = {_LIBRARY, *(name.partition(".")[0] for name in names)}
    todo, seen = [inner for name in names for inner in _inside(name)], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            needs = (need for need in _needs(name) if need.module.partition(".")[0] in followed)
            todo += [defining for need in needs for defining in _defining(need)]
    return tuple(sorted(seen))


def _module_of(code: object) -> str:
    if isinstance(code, str | ModuleType):
        name = code if isinstance(code, str) else code.__name__
    else:
        code = getattr(code, "func", code)  # of a partial
        name = getattr(code, "__module__", None) or type(code).__module__
    spec = getattr(sys.modules["__main__"], "__spec__", None) if name in _MAIN else None
    return spec.name if spec else name


def _inside(name: str) -> Iterator[str]:
    """A module, and all modules in it where it is a package."""
    file = _file(name)
    yield name
    if file.name == "__init__.py":
        for inner in sorted(file.parent.rglob("*.py")):
            parts = inner.relative_to(file.parent).with_suffix("").parts
            if inner != file and all(part.isidentifier() for part in parts):
                yield ".".join((name, *parts)).removesuffix(".__init__")


class _Need(NamedTuple):
    """What a module takes from another: a name, or all of it."""

    module: str
    name: str | None = None

    @property
    def full(self) -> str:
        return self.module if self.name is None else f"{self.module}.{self.name}"


@dataclass
class _Facts:
    """What the source of a module says.

    Attributes:
        digest: SHA-256 of its syntax tree without docstrings.
        imports: names that it takes from elsewhere, and whence.
        for_types: the same of names that only type checkers see, as an `__init__` has them that imports lazily.
        uses: for each name that it uses, the attributes that it takes of it, such as ("data", "load") of `a.data.load`.
        own: names that it defines at its top.
    """

    digest: str = ""
    imports: list[tuple[str, _Need]] = field(default_factory=list)
    for_types: list[tuple[str, _Need]] = field(default_factory=list)
    uses: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    def offered(self, name: str) -> _Need | None:
        """Whence a package takes a name that it offers."""
        return {**dict(self.for_types), **dict(self.imports)}.get(name)


@cache
def _facts(name: str) -> _Facts:
    file = _file(name)
    tree = ast.parse(file.read_bytes(), filename=str(file))
    facts = _Facts()
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for top in tree.body:
        if isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            facts.own.add(top.name)
        elif isinstance(top, ast.Assign | ast.AnnAssign):
            targets = top.targets if isinstance(top, ast.Assign) else [top.target]
            facts.own |= {inner.id for one in targets for inner in ast.walk(one) if isinstance(inner, ast.Name)}
    todo: list[tuple[ast.AST, bool]] = [(tree, False)]
    while todo:
        node, for_types = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            (facts.for_types if for_types else facts.imports).extend(_imported(node, package))
        elif isinstance(node, ast.Attribute | ast.Name):
            chain: list[str] = []
            while isinstance(node, ast.Attribute):
                chain.insert(0, node.attr)
                node = node.value
            if isinstance(node, ast.Name):
                facts.uses.setdefault(node.id, set()).add(tuple(chain))
                continue
        elif isinstance(node, ast.If) and _ends_in(node.test, "TYPE_CHECKING"):
            todo += [(inner, True) for inner in node.body] + [(inner, for_types) for inner in node.orelse]
            continue
        todo += [(inner, for_types) for inner in ast.iter_child_nodes(node)]
    facts.digest = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
    return facts


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, _Need]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            # `import a.b` binds a; what of it is used is seen where it is used.
            top = alias.name.partition(".")[0]
            yield (alias.asname, _Need(alias.name)) if alias.asname else (top, _Need(top))
        return
    above = package.rsplit(".", node.level - 1)[0] if node.level else ""
    module = ".".join(part for part in (above, node.module) if part)
    for alias in node.names:
        yield alias.asname or alias.name, _Need(module, None if alias.name == "*" else alias.name)


def _needs(name: str) -> set[_Need]:
    """What a module takes from others. What an `__init__` imports and does not use itself is what it offers."""
    facts, found = _facts(name), set()
    for local, need in facts.imports:
        uses = facts.uses.get(local)
        if uses is None and _is_package(name) and local != "*":
            continue
        package = _package_of(need)
        found |= {need} if package is None else {_followed(package, chain) for chain in uses or {()}}
    return found


def _followed(package: str, chain: Iterable[str]) -> _Need:
    """What `package.a.b.c` needs: the `__init__` where the package does not know the name, or is meant itself."""
    for name in chain:
        need = _Need(package, name)
        inner = _package_of(need)
        if inner is None:
            return need if _knows(package, name) or _spec(need.full) else _Need(package)
        package = inner
    return _Need(package)


def _package_of(need: _Need) -> str | None:
    """The package that is meant; None where it is a module, or a name in one."""
    inside = need.name is not None and (not _is_package(need.module) or _knows(need.module, need.name))
    return need.full if not inside and _is_package(need.full) else None


def _knows(package: str, name: str) -> bool:
    facts = _facts(package)
    return name in facts.own or facts.offered(name) is not None


def _defining(need: _Need, seen: frozenset[_Need] = frozenset()) -> Iterable[str]:
    module, name = need
    if name is None or not _is_package(module) or need in seen:
        return [module]
    offered = _facts(module).offered(name)
    if offered is not None:
        return _defining(offered, seen | {need})
    if name in _facts(module).own:
        return [module]
    if _spec(need.full) is not None:
        return [need.full]
    # A package that imports what it offers when it is asked for, in a way that its source does not show.
    value = getattr(import_module(module), name, None)
    found = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    if not isinstance(found, str):
        raise InputError(
            f"{_file(module)}: expected to find which module {need.full} is from, got none. Import it from there in "
            "the __init__, be it below `if TYPE_CHECKING:`."
        )
    return [found]


def _ends_in(node: ast.expr, name: str) -> bool:
    return (isinstance(node, ast.Name) and node.id == name) or (isinstance(node, ast.Attribute) and node.attr == name)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree without texts that nobody reads while it runs."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                setattr(node, name, [one for one in body if not _is_text(one)])
    return tree


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _is_package(name: str) -> bool:
    spec = _spec(name)
    return spec is not None and (spec.origin or "").endswith("__init__.py")


def _file(name: str) -> Path:
    spec = _spec(name)
    file = spec.origin if spec else getattr(sys.modules.get(name), "__file__", None)
    if not file or not file.endswith(".py") or not Path(file).is_file():
        raise InputError(
            f"{name}: expected a module with its source, a .py file, got {file or 'none'}. What is kept depends on "
            "source: put this code into a module of its own, or install the package with its .py files."
        )
    return Path(file)


@cache
def _spec(name: str) -> ModuleSpec | None:
    """Where a module is, found without running it or the packages above it."""
    above, _, _ = name.rpartition(".")
    try:
        if not above:
            return None if name in _MAIN else find_spec(name)
        outer = _spec(above)
        paths = outer.submodule_search_locations if outer else None
        return None if paths is None else PathFinder.find_spec(name, list(paths))
    except (ImportError, ValueError):
        return None
