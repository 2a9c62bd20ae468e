"""The keys of a grid's YAML file: each read, checked, and taken from the base case where it is missing."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from unlearn.checks import FloatArray, as_floats, require_positive, require_shape
from unlearn.errors import InputError
from unlearn.grid.base_case import LEFT_OUT, BaseCase

logger = logging.getLogger(__name__)

#: Costs of shedding and of storage where a file gives none, in multiples of the largest linear generation cost.
SHEDDING, STORAGE = 50, 10

#: A line without limit gets this many times all capacity and nominal load, more than any flow.
_NO_LIMIT = 10


def require_keys(where: str, settings: Any, keys: Iterable[str], needed: Iterable[str] = ()) -> None:
    """Refuse anything but a mapping with some of `keys`, and one where a needed key is missing or null."""
    if not isinstance(settings, Mapping):
        raise InputError(f"{where}: expected keys among {', '.join(keys)}, got {settings!r}.")
    for key in settings:
        _require_known(where, "key", key, keys)
    if missing := [key for key in needed if settings.get(key) is None]:
        raise InputError(f"{where}: missing {', '.join(missing)}; grids/ieee14.yaml shows all keys.")


def _require_known(where: str, what: str, name: Any, names: Iterable[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}."
        raise InputError(f"{where}: unknown {what} {name!r}; {remedy}")


def report_left_out(where: str, known: Any, base: BaseCase) -> None:
    """Warn of what the base case has, the DC model leaves out and the file does not name."""
    if not isinstance(known, list):
        raise InputError(f"{where}: left_out: expected a list, got {known!r}.")
    for name in known:
        _require_known(f"{where}: left_out", "name", name, list(LEFT_OUT))
    for name, (count, meaning) in LEFT_OUT.items():
        if (n := count(base)) and name not in known:
            logger.warning(
                "%s: left out of %s: %d %s. Put %s into left_out of the YAML file if that will do.",
                where, base.name, n, meaning, name,
            )  # fmt: skip


def slack_bus(where: str, number: Any, base: BaseCase) -> int:
    """Position of the slack bus, by default the only reference bus of the base case."""
    numbers = base.bus_numbers.tolist()
    if number is None:
        found = base.reference_buses.tolist()
        if len(found) != 1:
            raise InputError(f"{where}: expected one reference bus in {base.name}, got {found}; give slack_bus.")
        number = found[0]
    if number not in numbers:
        raise InputError(f"{where}: slack_bus {number} is no bus of {base.name}.")
    return numbers.index(number)


def per_item(where: str, key: str, value: Any, default: FloatArray) -> FloatArray:
    """Read one non-negative number per branch or generator in service, or one for all; None means `default`."""
    array = default if value is None else as_floats(f"{where}: {key}", value)
    if array.ndim == 0:
        array = np.full(len(default), array)
    require_shape(f"{where}: {key}", array, (len(default),))
    if not np.isfinite(array).all() or (array < 0).any():
        wrong = array[~(np.isfinite(array) & (array >= 0))][0]
        remedy = f" in the base case; give {key} in {where}" if value is None else ""
        raise InputError(f"{where}: {key}: expected finite numbers of at least 0, got {wrong}{remedy}.")
    return array


def line_limit_mw(where: str, value: Any, base: BaseCase, p_max_mw: FloatArray, load_mw: FloatArray) -> FloatArray:
    """Read limits; an infinite one becomes a finite one that no flow reaches, as solvers want it."""
    array = base.line_limit_mw if value is None else as_floats(f"{where}: line_limit_mw", value)
    if (wrong := ~(array > 0)).any():
        raise InputError(
            f"{where}: line_limit_mw: expected numbers above 0 (.inf for a line without limit), got {array[wrong][0]}."
        )
    no_limit = _NO_LIMIT * (p_max_mw.sum() + load_mw[load_mw > 0].sum())
    return per_item(where, "line_limit_mw", np.where(np.isinf(array), no_limit, array), base.line_limit_mw)


def generation_cost(where: str, settings: Any, base: BaseCase, base_mva: float) -> FloatArray:
    """Quadratic and linear cost per unit, shape (2, G): the file's, else the base case's polynomials."""
    require_keys(f"{where}: generation_cost", settings, ("quadratic", "linear"))
    rows = []
    for row, (key, power) in enumerate((("quadratic", 2), ("linear", 1))):
        value, name = settings.get(key), f"generation_cost.{key}"
        if value is None:
            value = base.generation_cost(where)[row] * base_mva**power
        rows.append(per_item(where, name, value, base.p_gen_max_mw))
    # Strictly convex: otherwise two generators could share a load in many ways, and the cost of a
    # forecast and its gradient would depend on the solver.
    if (flat := rows[0] == 0).any():
        k = int(np.flatnonzero(flat)[0])
        raise InputError(
            f"{where}: generation_cost.quadratic: expected numbers above 0, got 0 for generator {k + 1} of {len(flat)} "
            f"(bus {base.bus_numbers[base.gen_bus[k]]}); give a list, or one number for all generators, such as 1 % "
            "of the linear cost."
        )
    return np.stack(rows)


def penalty(where: str, key: str, value: Any, multiple: int, cost: FloatArray) -> tuple[float, float]:
    """Read the quadratic and linear cost of shedding or storage; by default a multiple of the largest linear cost.

    Both must be positive: they make the programs strictly convex (Proposition 1).
    """
    if value is None:
        value = dict.fromkeys(("quadratic", "linear"), multiple * float(cost[1].max()))
        if not value["linear"]:
            raise InputError(f"{where}: missing {key}, as all linear generation costs are 0; give both its numbers.")
    require_keys(f"{where}: {key}", value, ("quadratic", "linear"), needed=("quadratic", "linear"))
    return (
        require_positive(f"{where}: {key}.quadratic", value["quadratic"]),
        require_positive(f"{where}: {key}.linear", value["linear"]),
    )


def nominal_load_mw(where: str, settings: Any, base_mw: FloatArray) -> FloatArray:
    """Scale the base case's loads and, if asked, give load to the buses that have none."""
    require_keys(f"{where}: load", settings, ("scale", "fill"))
    scaled = require_positive(f"{where}: load.scale", settings.get("scale", 1.0)) * base_mw
    fill = settings.get("fill")
    if fill is None:
        return scaled
    require_keys(f"{where}: load.fill", fill, ("rule", "cap"), needed=("rule", "cap"))
    if fill["rule"] != "mean_sqrt":
        raise InputError(f"{where}: load.fill.rule: expected mean_sqrt, got {fill['rule']!r}.")
    cap = require_positive(f"{where}: load.fill.cap", fill["cap"])
    rising = scaled.mean() * np.sqrt(np.arange(len(scaled)) + 1)
    return np.where(scaled > 0, scaled, np.minimum(rising, cap * scaled.max()))
