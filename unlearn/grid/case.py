"""Grid cases: a YAML file names a case of PYPOWER or a MATPOWER file, and what is changed in it."""

from __future__ import annotations

import difflib
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from unlearn.checks import FloatArray, IntArray, as_floats, require_positive, require_shape
from unlearn.errors import InputError
from unlearn.grid.base_case import (
    LEFT_OUT,
    RAW_ENDINGS,
    BaseCase,
    load_base_case,
    pypower_cases,
    require_connected,
    require_determined,
)
from unlearn.grid.options import bundled_folder
from unlearn.limits import require_text, require_yaml

logger = logging.getLogger(__name__)

#: Costs of shedding and of storage where a file gives none, in multiples of the largest linear generation cost.
SHEDDING, STORAGE = 50, 10

#: A line without limit gets this many times all capacity and nominal load, more than any flow.
_NO_LIMIT = 10

_KEYS = (
    "name", "base_case", "base_mva", "slack_bus", "load", "line_limit_mw", "p_gen_max_mw",
    "generation_cost", "shedding_cost", "storage_cost", "left_out",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class GridCase:
    """A network with M buses, L lines, G generators and B loads; powers in per unit.

    The DC model has lossless lines, generators from 0 to their upper limit, loads of at least 0 and
    nothing else: no taps, phase shifts, shunts, line charging, minimum generation or DC lines. `load_case` and
    `build_case` make one; arrays of another type are converted, and what cannot be priced is refused.

    Attributes:
        name: name of the case.
        base_mva: power base; per unit times `base_mva` is MW.
        bus_numbers: external bus numbers, shape (M,).
        slack_bus: position of the slack bus.
        line_from: position of each line's from bus, shape (L,).
        line_to: position of each line's to bus, shape (L,).
        reactance_pu: series reactance, shape (L,).
        line_limit_pu: thermal limit, shape (L,).
        gen_bus: position of each generator's bus, shape (G,).
        p_gen_max_pu: upper generation limit, shape (G,).
        load_bus: position of each load's bus, shape (B,).
        nominal_load_mw: nominal load in MW, shape (B,).
        generation_cost: quadratic and linear cost, shape (2, G).
        shedding_cost: quadratic and linear cost of load shedding.
        storage_cost: quadratic and linear cost of storing surplus generation.

    Raises:
        InputError: an array of the wrong shape, a position or a number out of range, several islands, or reactances
            that do not determine the flows.
    """

    name: str
    base_mva: float
    bus_numbers: IntArray
    slack_bus: int
    line_from: IntArray
    line_to: IntArray
    reactance_pu: FloatArray
    line_limit_pu: FloatArray
    gen_bus: IntArray
    p_gen_max_pu: FloatArray
    load_bus: IntArray
    nominal_load_mw: FloatArray
    generation_cost: FloatArray
    shedding_cost: tuple[float, float]
    storage_cost: tuple[float, float]

    def __post_init__(self) -> None:
        where = f"grid {self.name}"
        require_positive(f"{where}: base_mva", self.base_mva)
        numbers = self._keep_positions("bus_numbers", None, None)
        size = len(numbers)
        if not isinstance(self.slack_bus, int | np.integer) or not 0 <= self.slack_bus < size:
            raise InputError(f"{where}: slack_bus: expected a position from 0 to {size - 1}, got {self.slack_bus!r}.")
        if len(np.unique(numbers)) < size:
            raise InputError(f"{where}: bus_numbers: expected each number once, got {size} with repetitions.")
        line_from = self._keep_positions("line_from", None, size)
        line_to = self._keep_positions("line_to", len(line_from), size)
        reactance = self._keep("reactance_pu", (len(line_from),), negative=True)
        self._keep("line_limit_pu", (len(line_from),))
        n_gens = len(self._keep_positions("gen_bus", None, size))
        self._keep("p_gen_max_pu", (n_gens,))
        self._keep("generation_cost", (2, n_gens))
        n_loads = len(self._keep_positions("load_bus", None, size))
        self._keep("nominal_load_mw", (n_loads,))
        for key in ("shedding_cost", "storage_cost"):
            pair = as_floats(f"{where}: {key}", getattr(self, key))
            require_shape(f"{where}: {key}", pair, (2,))
            object.__setattr__(self, key, tuple(require_positive(f"{where}: {key}", float(x)) for x in pair))
        require_connected(where, numbers, line_from, line_to, reactance)
        require_determined(where, numbers, line_from, line_to, reactance, int(self.slack_bus))

    def _keep(self, key: str, shape: tuple[int, ...], negative: bool = False) -> FloatArray:
        name = f"grid {self.name}: {key}"
        array = as_floats(name, getattr(self, key))
        require_shape(name, array, shape)
        if (wrong := ~(np.isfinite(array) & (negative | (array >= 0)))).any():
            expected = "finite numbers" if negative else "finite numbers of at least 0"
            raise InputError(f"{name}: expected {expected}, got {array[wrong][0]:g}.")
        object.__setattr__(self, key, array)
        return array

    def _keep_positions(self, key: str, length: int | None, below: int | None) -> IntArray:
        name = f"grid {self.name}: {key}"
        array = as_floats(name, getattr(self, key))
        require_shape(name, array, (length,))
        outside = ~(np.abs(array) < 2**53) | (array != np.round(array))
        if below is not None:
            outside |= ~((array >= 0) & (array < below))
        if not len(array) or outside.any():
            expected = "whole numbers" if below is None else f"positions from 0 to {below - 1}"
            got = f"{array[outside][0]:g}" if len(array) else "none"
            raise InputError(f"{name}: expected {expected}, got {got}.")
        object.__setattr__(self, key, array.astype(np.int64))
        return getattr(self, key)

    def __repr__(self) -> str:
        return (
            f"GridCase({self.name!r}: {self.n_buses} buses, {self.n_lines} lines, {self.n_gens} generators of "
            f"{self.capacity_mw:.4g} MW, {self.n_loads} loads of {self.nominal_load_mw.sum():.4g} MW, "
            f"base {self.base_mva:g} MVA)"
        )

    @property
    def capacity_mw(self) -> float:
        """What all generators give together, in MW."""
        return float(self.p_gen_max_pu.sum() * self.base_mva)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything that a price depends on."""
        digest = hashlib.sha256()
        for field in fields(self):
            value = getattr(self, field.name)
            digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
        return digest.hexdigest()

    @property
    def n_buses(self) -> int:
        return len(self.bus_numbers)

    @property
    def n_lines(self) -> int:
        return len(self.line_from)

    @property
    def n_gens(self) -> int:
        return len(self.gen_bus)

    @property
    def n_loads(self) -> int:
        return len(self.load_bus)


def load_case(name_or_path: str | Path) -> GridCase:
    """Load a grid case by name ("ieee14"), from a YAML file of one's own, or from a MATPOWER file (.m, .mat) as it is.

    Raises:
        InputError: no such case, a misspelt key, an unknown base case or one that the DC model cannot
            take (see `base_case`), a list of the wrong length, or a constant that is not positive;
            the message names the file.
    """
    if not isinstance(name_or_path, str | Path):
        raise InputError(f"grid: expected a name such as ieee14 or a path, got {type(name_or_path).__name__}.")
    try:
        path = Path(name_or_path).expanduser()
        raw = path.suffix.lower() in RAW_ENDINGS
        if not raw and path.suffix.lower() not in (".yaml", ".yml"):
            path = bundled_folder() / f"{name_or_path}.yaml"
        if not path.is_file():
            raise InputError(f"grid {str(name_or_path)!r}: {_no_such_case(str(name_or_path), path)}")
        if raw:
            settings = {"base_case": path.name}
        else:
            require_text(path, path.stat().st_size)
            text = path.read_text(encoding="utf-8-sig")
            require_yaml(path, text)
            settings = yaml.safe_load(text)
    except (OSError, RuntimeError) as error:  # no permission, a name too long, ~nobody; YAML nested too deep
        raise InputError(f"grid {str(name_or_path)!r}: cannot be read: {error}.") from error
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected YAML, got {' '.join(str(error).split()).rstrip('.')}.") from error
    if settings is None:
        raise InputError(f"{path}: expected keys, got an empty file; grids/ieee14.yaml shows all keys.")
    try:
        return build_case(settings, where=str(path), folder=path.parent)
    except InputError as error:
        if not raw:
            raise
        raise InputError(
            f"{error} To change or add something, load a YAML file beside it that begins with "
            f'"base_case: {path.name}"; grids/ieee14.yaml shows all keys.'
        ) from error


def _no_such_case(name: str, path: Path) -> str:
    bundled, what = sorted(file.stem for file in bundled_folder().glob("*.yaml")), "no such case."
    if path.parent != bundled_folder():
        what = "is a folder, not a file." if path.is_dir() else "no such file."
    elif name in pypower_cases():
        own = f'"base_case: {name}"'
        return f"a case of PYPOWER, which a YAML file of one line loads: {own}. Bundled: {', '.join(bundled)}."
    plain = re.sub(r"[\W_]", "", Path(name).stem.lower())
    near = difflib.get_close_matches(plain, bundled, n=1) or difflib.get_close_matches(plain, pypower_cases(), n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return f"{what}{meant} Bundled: {', '.join(bundled)}; or give a path to a YAML, .m or .mat file."


def build_case(settings: Mapping[str, Any], where: str = "grid settings", folder: Path = Path()) -> GridCase:
    """Build a case from the mapping that a grid's YAML file holds; see `grids/ieee14.yaml`.

    Only `base_case` is needed. What is missing or null is that of the base case: base, slack bus, loads,
    limits, Pmax, costs (its gencost in per unit, without constant terms); shedding costs 50 and storage 10
    times the largest linear generation cost. What the DC model leaves out of the base case and would
    change prices is logged as a warning, unless `left_out` names it.

    Args:
        settings: the mapping.
        where: its file, for messages.
        folder: folder that a path in `base_case` starts from.
    """
    require_keys(where, settings, _KEYS, needed=["base_case"])
    given = {key: value for key, value in settings.items() if value is not None}
    base = load_base_case(settings["base_case"], folder, where)
    base_mva = require_positive(f"{where}: base_mva", given.get("base_mva", base.base_mva))
    p_max_mw = per_item(where, "p_gen_max_mw", given.get("p_gen_max_mw"), base.p_gen_max_mw)
    nominal_mw = nominal_load_mw(where, given.get("load", {}), base.load_mw)
    has_load = nominal_mw > 0
    if not has_load.any():
        raise InputError(f"{where}: expected a bus with load, got none in {base.name}; give load.fill.")
    cost = generation_cost(where, given.get("generation_cost", {}), base, base_mva)
    report_left_out(where, given.get("left_out", []), base)
    limit_mw = line_limit_mw(where, given.get("line_limit_mw"), base, p_max_mw, nominal_mw)
    slack = slack_bus(where, given.get("slack_bus"), base)
    shedding = penalty(where, "shedding_cost", given.get("shedding_cost"), SHEDDING, cost)
    storage = penalty(where, "storage_cost", given.get("storage_cost"), STORAGE, cost)
    try:
        return GridCase(
            name=str(given.get("name", base.name)),
            base_mva=base_mva,
            bus_numbers=base.bus_numbers,
            slack_bus=slack,
            line_from=base.line_from,
            line_to=base.line_to,
            reactance_pu=base.reactance_pu * (base_mva / base.base_mva),
            line_limit_pu=limit_mw / base_mva,
            gen_bus=base.gen_bus,
            p_gen_max_pu=p_max_mw / base_mva,
            load_bus=np.flatnonzero(has_load),
            nominal_load_mw=nominal_mw[has_load],
            generation_cost=cost,
            shedding_cost=shedding,
            storage_cost=storage,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


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
    if (wrong := ~(np.isfinite(array) & (array >= 0))).any():
        remedy = f" in the base case; give {key} in {where}" if value is None else ""
        raise InputError(f"{where}: {key}: expected finite numbers of at least 0, got {array[wrong][0]}{remedy}.")
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
    for row, key in enumerate(("quadratic", "linear")):
        if (value := settings.get(key)) is None:
            value = base.generation_cost(where)[row] * base_mva ** (2 - row)
        rows.append(per_item(where, f"generation_cost.{key}", value, base.p_gen_max_mw))
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
    quadratic, linear = (require_positive(f"{where}: {key}.{part}", value[part]) for part in ("quadratic", "linear"))
    return quadratic, linear


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
