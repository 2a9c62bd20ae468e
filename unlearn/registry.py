"""What is imported when it is asked for: entries of a registry, and names of a package, so that `import` costs little.

There is one registry of names per protocol. A package's `__init__` imports under `TYPE_CHECKING` what it offers, as
type checkers and editors read it, and the same lines tell at run time where each name comes from: there is no second
table that could differ. `lazy_loader` does the same from a `.pyi` file beside each `__init__`; these few lines need
neither those files nor the dependency. They need the source of the `__init__`, which every wheel has.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

from unlearn.errors import InputError

T = TypeVar("T")
_Entry = TypeVar("_Entry")


class Registry(Generic[T]):
    """Names of classes (or functions) that satisfy one protocol, in the order of registration.

    The names of what the library brings stand here and nowhere else. A class of one's own needs no name: whatever takes
    a name takes an object, too.

    >>> shapes: Registry[type] = Registry("shape", {"path": "pathlib:PurePosixPath"})
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes.names()
    ('path', 'square')
    >>> shapes["path"]("a") / "b"
    PurePosixPath('a/b')
    """

    def __init__(self, what: str, entries: Mapping[str, T | str] | None = None) -> None:
        """Start with some names.

        Args:
            what: what the names are names of, for messages, such as "criterion".
            entries: a class, or `"module:Class"` to be imported when it is asked for, by name.
        """
        self._what = what
        self._entries: dict[str, T | str] = dict(entries or {})

    def register(self, name: str) -> Callable[[_Entry], _Entry]:
        """Give a class a name; a decorator.

        Raises:
            InputError: the name is taken by another class.
        """

        def add(entry: _Entry) -> _Entry:
            if name in self._entries and self[name] is not entry:
                raise InputError(f"{self._what}: expected a name that is free, got {name!r}, which is {self[name]!r}.")
            self._entries[name] = cast(T, entry)
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        """The class of that name.

        Raises:
            InputError: an unknown name; the message has all names and the nearest one.
        """
        if not isinstance(name, str) or name not in self._entries:
            near = get_close_matches(name, self._entries, n=1) if isinstance(name, str) else []
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{self._what}: expected one of {', '.join(self._entries)}; got {name!r}.{hint}")
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = self._entries[name] = cast(T, getattr(import_module(module), attribute))
        return entry

    def make(self, chosen: Any) -> Any:
        """An object of a class by its name, with its default settings; an object is returned as it is.

        Raises:
            InputError: an unknown name.
        """
        return cast(Any, self[chosen])() if isinstance(chosen, str) else chosen

    def make_all(self, chosen: Sequence[Any]) -> list[Any]:
        """Several of them, so that records can tell them apart.

        Raises:
            InputError: none, one name twice, or an unknown one.
        """
        found = [self.make(one) for one in chosen]
        names = [one.name for one in found]
        if not names or len(set(names)) < len(names):
            raise InputError(f"{self._what}s: expected at least one, each name once, got {names}.")
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._entries)


def settings_of(made: Any) -> dict[str, Any]:
    """What the work of an object depends on beside its class: all its settings but the name, which is for people."""
    return {name: value for name, value in asdict(made).items() if name != "name"}


def lazily(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package: its names under `TYPE_CHECKING`, and its modules.

    No name may be that of a module of the package as well, for importing the module would replace the name.

    >>> import unlearn
    >>> "forget" in dir(unlearn), unlearn.MSE().name
    (True, 'mse')
    """
    module = sys.modules[package]
    parts = {part.name for part in pkgutil.iter_modules(module.__path__) if not part.name.startswith("_")}
    table: dict[str, tuple[str, str]] = {}

    def origins() -> dict[str, tuple[str, str]]:
        if not table:
            for node in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(node, ast.ImportFrom):
                    table.update({a.asname or a.name: (node.module or "", a.name) for a in node.names})
        return table

    def get(name: str) -> object:
        if name.startswith("__") or name not in parts | origins().keys():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name in parts:
            return import_module(f"{package}.{name}")
        source, own_name = origins()[name]
        value = getattr(import_module(source), own_name)
        setattr(module, name, value)  # the next time it is there
        return value

    def names() -> list[str]:
        return sorted({*vars(module), *parts, *getattr(module, "__all__", ())})

    return get, names
