"""What a run says of errors that are not the library's: one sentence that names override, key or path, and a remedy."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from experiments.groups import CONF, PROTOCOLS
from unlearn.errors import InputError, UnlearnError, system_reason

#: What OmegaConf calls a type, and what one writes.
_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "Path": "a path"}

_OVERRIDE = re.compile(r"^[+~]{0,2}(?P<key>[^=]+?)=(?P<value>.*)$", re.DOTALL)


def explain(error: BaseException, arguments: Sequence[str] = ()) -> str | None:
    """Say what went wrong in one sentence; None for an error that only a traceback explains.

    Args:
        error: whatever a run, or the composition of its configuration, has raised.
        arguments: of the command line, to name the override that could not be read.
    """
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, UnlearnError):
            return str(cause)
        if isinstance(cause, OSError) and not isinstance(cause, HydraException):
            return _of_the_system(cause)
        if isinstance(cause, MemoryError):
            return "Not enough memory: take fewer rows, households or processes."
    if "config group override must be" in str(error).lower() and not isinstance(error, HydraException):
        return _of_a_group(arguments)
    configured = [cause for cause in chain if isinstance(cause, HydraException | OmegaConfBaseException)]
    return _of_the_configuration(configured, arguments) if configured and configured[0] is error else None


def require_complete(raw: DictConfig) -> None:
    """Refuse a composed configuration in which a setting has no value.

    Raises:
        InputError: names each such setting, what it expects, and how to give it.
    """
    absent = sorted(OmegaConf.missing_keys(raw))
    if absent:
        said = [f"{key}: expected {_expected(raw, key)}, got nothing. Give it as {key}=VALUE." for key in absent]
        raise InputError(" ".join(said))


def require_known(raw: DictConfig) -> None:
    """Refuse settings that no schema knows, however they were added: with +, ++, in a file or a sweep.

    Groups, nested settings and tables of one kind of value are as their dataclasses say; Hydra's own are left alone.

    Raises:
        InputError: names the setting, and the one that was meant perhaps.
    """
    for parent, node in _nodes(raw, ""):
        kind = OmegaConf.get_type(node)
        if "_target_" in node and parent.split(".")[0] not in PROTOCOLS and parent:
            named = ", ".join(PROTOCOLS)
            raise InputError(f"{parent}_target_: expected a class in the settings of {named} alone. Leave it out here.")
        if not dataclasses.is_dataclass(kind):
            continue
        known = {field.name for field in dataclasses.fields(kind)} | ({"hydra"} if not parent else set())
        for name in map(str, node):
            if name not in known:
                raise InputError(f"{_unknown(parent, name, kind)} Leave out what was added.")


def _nodes(node: DictConfig, parent: str) -> Iterator[tuple[str, DictConfig]]:
    """A configuration and all settings below it, each with the start of its keys."""
    yield parent, node
    for name in node:
        if not (not parent and name == "hydra") and not OmegaConf.is_missing(node, name):
            value = node._get_node(name)
            if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
                yield from _nodes(value, parent + str(name) + ".")


def _expected(raw: DictConfig, key: str) -> str:
    """What a setting without a value expects: as its schema says, or the choices of its group."""
    parent, _, name = key.rpartition(".")
    kind = OmegaConf.get_type(OmegaConf.select(raw, parent)) if parent else OmegaConf.get_type(raw)
    if dataclasses.is_dataclass(kind):
        own = {field.name: field.metadata.get("expected") for field in dataclasses.fields(kind)}
        if own.get(name):
            return str(own[name])
    choices = _choices(key)
    return f"one of {', '.join(choices)}" if choices else "a value"


def _choices(group: str) -> list[str]:
    """Names of the choices of a configuration group: files, and classes of options."""
    found = {path.stem for path in Path(CONF, group).glob("*.yaml")} if group else set()
    known: Any = ConfigStore.instance().repo
    for part in group.split("/"):
        known = known.get(part, {}) if isinstance(known, dict) else {}
    return sorted(_named({*found, *(name.removesuffix(".yaml") for name in known)})) if group else []


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, each once: chains that other packages make may be rings."""
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _of_the_system(error: OSError) -> str:
    path = error.filename2 or error.filename
    reason = system_reason(error)
    return f"{path}: {reason}." if path else f"{reason[0].upper()}{reason[1:]}."


def _of_a_group(arguments: Sequence[str]) -> str:
    """A choice of a group that is no text, such as null."""
    for argument in arguments:
        found = _OVERRIDE.match(argument)
        if found and (choices := _choices(found["key"])) and found["value"] not in choices:
            return f"{found['key']}: expected one of {', '.join(choices)}; got {found['value']!r}."
    return "expected overrides such as forecaster=cnn, each a name, = and a value."


def _of_the_configuration(chain: Sequence[BaseException], arguments: Sequence[str]) -> str:
    first, last = chain[0], chain[-1]
    if isinstance(first, MissingConfigException) and first.missing_cfg_file:
        group, _, value = first.missing_cfg_file.rpartition("/")
        return _no_choice(group, value, _choices(group) or _named(first.options or ()))
    for cause in chain:
        if isinstance(cause, ConfigAttributeError | ConfigKeyError):
            return _no_such_key(cause)
        if isinstance(cause, ValidationError) and cause.full_key:
            return _wrong_value(cause)
    if found := re.search(r"raised while resolving interpolation: (.+)", str(first)):
        return found[1]
    if isinstance(first, OverrideParseException) and (unread := _unread(arguments)):
        return unread
    if found := re.search(r"An item is already at '(.+)'", str(first)):
        return f"+{found[1]}: there is such a setting already; leave out the +."
    if found := re.search(r"Ambiguous value for argument '(.+?)=(.+)'", str(first)):
        return (
            f"{found[1]}={found[2]}: expected one value; write {found[1]}=[{found[2]}] for a list, or add --multirun "
            "to run one job for each."
        )
    if found := re.search(r"Multiple values for ([\w/]+)", str(first)):
        return f"+{found[1]}: the group has a choice already; leave out the +."
    return f"The configuration cannot be read: {_first_line(last).rstrip('.')}."


def _no_choice(group: str, value: str, choices: Collection[str]) -> str:
    if not group:
        return f"--config-name {value}: there is no such file in {CONF}."
    return f"{group}: expected one of {', '.join(choices)}; got {value!r}.{_near(value, choices, f'{group}=')}"


def _no_such_key(error: OmegaConfBaseException) -> str:
    key = str(error.full_key)
    parent, _, name = key.rpartition(".")
    kind = error.object_type
    if not dataclasses.is_dataclass(kind):
        return f"{key}: no such entry yet; to add it, write +{key}=VALUE."
    return _unknown(f"{parent}." if parent else "", name, kind)


def _unknown(before: str, name: str, kind: Any) -> str:
    known = [field.name for field in dataclasses.fields(kind)]
    near = _near(name, known, before) or f" There are {', '.join(before + own for own in known)}."
    return f"{before}{name}: there is no such setting.{near}"


def _wrong_value(error: OmegaConfBaseException) -> str:
    said, key = _first_line(error), error.full_key
    if found := re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", said):
        return f"{key}: expected {_KINDS.get(found[2], found[2])}, got {found[1]!r}."
    if found := re.search(r"Value '(.*)' is not a valid bool", said):
        return f"{key}: expected true or false, got {found[1]!r}."
    if "is not Optional" in said:
        return f"{key}: expected a value, got null."
    if "is not a ListConfig" in said:
        return f"{key}: expected a list, such as {key}=[VALUE], got {_kind(said)}."
    if found := re.search(r"(?:Invalid type assigned: )(\w+) is not a subclass", said):
        return f"{key}: expected settings below it, such as {key}.NAME=VALUE, got one value ({found[1]})."
    return f"{key}: {said.rstrip('.')}."


def _kind(said: str) -> str:
    return {"str": "text", "int": "a number", "float": "a number", "bool": "true or false"}.get(
        said.split(": ")[-1].split()[0], "something else"
    )


def _unread(arguments: Sequence[str]) -> str:
    """The argument that Hydra's grammar does not read, with quotes that let it."""
    for argument in arguments:
        found = _OVERRIDE.match(argument)
        if found is None and not argument.startswith("-"):
            return f"{argument}: expected an override such as seed=3: a name, = and a value."
        if found is not None and not re.fullmatch(r"[\w./:+-]*", found["value"], re.ASCII):
            value = found["value"].replace("'", "\\'")
            return f"{argument}: the value has signs that need quotes; write \"{found['key']}='{value}'\"."
    return ""


def _named(options: Collection[str]) -> list[str]:
    return [option for option in options if not option.endswith("_schema")]


def _near(name: str, known: Collection[str], before: str) -> str:
    close = get_close_matches(name, known, 1)
    return f" Did you mean {before}{close[0]}?" if close else ""


def _first_line(error: Any) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
