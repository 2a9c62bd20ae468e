"""Names of what a room offers: one registry per protocol, whose entries are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Generic, TypeVar, cast

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

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._entries)
