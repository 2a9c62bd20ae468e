"""Configuration made from the library's classes of options: types, defaults and words stand there and nowhere else.

A *schema* is the class that OmegaConf reads the settings of such a class with: the same fields and defaults, not
frozen, tuples as lists. It is made here rather than by hydra-zen's `builds`, which (0.17) refuses defaults that are
tuples of options, loses the types of nested options, and puts a `_target_` into every section. So a `_target_` stands
in the settings of the five protocols alone, where it names a class, perhaps one's own.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING

from unlearn.errors import InputError

T = TypeVar("T")

#: Names the class in the settings of a protocol.
TARGET = "_target_"


@functools.cache
def schema(options: type, target: str | None = None, without: tuple[str, ...] = ()) -> type:
    """The class that OmegaConf reads the settings of a class of options with.

    Args:
        options: a dataclass; or a class whose arguments with plain defaults are settings.
        target: where the class is found, `module.Class`, if the settings are those of a protocol.
        without: fields that are set in another way.
    """
    fields: list[tuple[str, Any, Any]] = [] if target is None else [(TARGET, str, dataclasses.field(default=target))]
    if dataclasses.is_dataclass(options):
        hints = typing.get_type_hints(options)
        own_fields = [own for own in dataclasses.fields(options) if own.init and own.name not in without]
        types_ = {own.name: _plain_type(hints[own.name]) for own in own_fields}
        fields += [(own.name, types_[own.name], _field(own, types_[own.name])) for own in own_fields]
    else:
        fields += [(own.name, type(own.default), own.default) for own in _plain_arguments(options)]
    made = dataclasses.make_dataclass(options.__name__, fields, namespace={"options": options})
    made.__module__ = __name__
    return made


def build(options: type[T], settings: Mapping[str, Any], where: str = "") -> T:
    """Make the options of a class from plain settings, lists as tuples.

    Args:
        options: a dataclass.
        settings: by the names of its fields; what is absent has its default.
        where: of the settings, for messages, such as "generator".

    Raises:
        InputError: a setting that the class does not have, or whatever the class refuses.
    """
    fields = {own.name for own in dataclasses.fields(options) if own.init}  # type: ignore[arg-type]
    _refuse_unknown(options, settings, fields, where)
    hints = typing.get_type_hints(options)
    return options(**{name: _value(hints[name], value) for name, value in settings.items()})


def build_target(settings: Mapping[str, Any], where: str, **needed: Any) -> Any:
    """Make an object of the class that settings of a protocol name.

    Args:
        settings: of the protocol.
        where: name of the protocol.
        **needed: further arguments, taken by classes that have an attribute `needs_NAME`.

    Raises:
        InputError: no such class, or settings that it does not have.
    """
    own = dict(settings)
    target = own.pop(TARGET, None)
    if not target:
        raise InputError(f"{where}: expected {where}.{TARGET}, such as my_module.MyClass, got none.")
    made = find(str(target), f"{where}.{TARGET}")
    more = {name: value for name, value in needed.items() if getattr(made, f"needs_{name}", False)}
    return build(made, own, where) if dataclasses.is_dataclass(made) else made(**own, **more)


def find(target: str, where: str) -> type:
    """The class that stands at `module.Class`.

    Raises:
        InputError: no such module or class.
    """
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{where}: expected a class as module.Class, got {target!r}: {error}. Its folder must be on PYTHONPATH."
        ) from error
    if not isinstance(found, type):
        raise InputError(f"{where}: expected a class, got {target!r}, which is {found!r}.")
    return found


def plain(value: Any, neutral: bool = True) -> Any:
    """Options as plain values, for cards and keys.

    Args:
        value: options, or what stands in them.
        neutral: whether with the fields that change no result, which are declared with `compare=False`.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [own for own in dataclasses.fields(value) if neutral or own.compare]
        return {own.name: plain(getattr(value, own.name), neutral) for own in fields}
    if isinstance(value, Mapping):
        return {str(name): plain(own, neutral) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [plain(own, neutral) for own in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _plain_arguments(kind: type) -> list[inspect.Parameter]:
    if "__init__" not in vars(kind):
        return []
    arguments = inspect.signature(kind).parameters.values()
    return [own for own in arguments if isinstance(own.default, str | int | float | bool)]


def _refuse_unknown(options: type, settings: Mapping[str, Any], known: Collection[str], where: str) -> None:
    unknown = sorted(set(settings) - set(known))
    if unknown:
        name = where or options.__name__
        raise InputError(f"{name}: expected settings among {', '.join(known)}, got {', '.join(unknown)}.")


def _field(own: dataclasses.Field[Any], kind: Any) -> Any:
    """The same default in plain values; a setting that must be given has none, a mapping takes entries."""
    if own.default is not dataclasses.MISSING:
        made = functools.partial(plain_defaults, own.default)
    elif own.default_factory is not dataclasses.MISSING:
        factory = own.default_factory
        made = functools.partial(_plain_default, factory)
    elif typing.get_origin(kind) is dict:
        made = dict
    else:
        return dataclasses.field(default=MISSING, metadata=own.metadata)
    return dataclasses.field(default_factory=made, metadata=own.metadata)


def _plain_default(factory: Any) -> Any:
    return plain_defaults(factory())


def plain_defaults(value: Any) -> Any:
    """Options, or what stands in them, as OmegaConf reads them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = [field.name for field in dataclasses.fields(value) if field.init]
        return schema(type(value))(**{name: plain_defaults(getattr(value, name)) for name in own})
    if isinstance(value, Mapping):
        return {name: plain_defaults(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [plain_defaults(own) for own in value]
    return str(value) if isinstance(value, Path) else value


def _plain_type(hint: Any) -> Any:
    """A type as OmegaConf knows it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = dict.fromkeys(map(_plain_type, _without_none(arguments)))
        if set(inner) == {int, float}:
            inner = {float: None}
        only: Any = next(iter(inner)) if len(inner) == 1 else Any
        return typing.Optional[only] if type(None) in arguments else only  # noqa: UP045
    if origin is typing.Literal:
        return type(arguments[0])
    if dataclasses.is_dataclass(hint):
        return schema(hint)  # type: ignore[arg-type]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[_plain_type(arguments[0]), _plain_type(arguments[1])]  # type: ignore[misc]
    if isinstance(origin, type) and issubclass(origin, Collection):
        return list[_plain_type(arguments[0])]  # type: ignore[misc]
    if hint is Path:
        return str
    return hint if hint in (str, int, float, bool) else Any


def _value(hint: Any, value: Any) -> Any:
    """A setting as the class of options takes it."""
    if value is None:
        return None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _value(_without_none(arguments)[0], value)
    if dataclasses.is_dataclass(hint):
        return build(hint, value)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        own = arguments[1] if len(arguments) == 2 else Any
        return {name: _value(own, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_value(arguments[0] if arguments else Any, item) for item in value)
    return value


def _without_none(arguments: tuple[Any, ...]) -> list[Any]:
    return [own for own in arguments if own is not type(None)]
