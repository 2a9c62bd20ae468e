"""Options of the sources of data: what a reader takes, checked before it starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from unlearn.errors import InputError


def reader_of(source: str, sources: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return the reader of a source, refusing an unknown name."""
    if source not in sources:
        raise InputError(f"source: expected one of {', '.join(sorted(sources))}; got {source!r}.")
    return sources[source]


def check_options(
    source: str, reader: Callable[..., Any], options: Collection[str], hidden: Collection[str] = ()
) -> set[str]:
    """Refuse options that a reader does not know, and missing ones that it needs.

    Args:
        source: name of the source, for messages.
        reader: the function that reads it.
        options: names of the options given.
        hidden: parameters of the reader that messages do not offer, for they are set in another way.

    Returns:
        Names of the parameters that the reader has.

    Raises:
        InputError: an unknown or a missing option.
    """
    parameters = inspect.signature(reader).parameters
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        offered = sorted(set(parameters) - set(hidden))
        raise InputError(f"{source}: expected options among {', '.join(offered)}; got {', '.join(unknown)}.")
    absent = [name for name, p in parameters.items() if p.default is p.empty and name not in options]
    if absent:
        raise InputError(f"{source}: expected the options {', '.join(absent)}, got none. Pass them by name.")
    return set(parameters)
