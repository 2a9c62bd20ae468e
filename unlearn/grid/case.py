"""Grid cases: a YAML file names a case of PYPOWER or a MATPOWER file, and what is changed in it."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import unlearn.grid.settings as read
from unlearn.checks import FloatArray, IntArray, as_floats, require_positive, require_shape
from unlearn.errors import InputError
from unlearn.grid.base_case import RAW_ENDINGS, load_base_case, pypower_cases
from unlearn.grid.connection import require_connected, require_determined, require_usable_lines
from unlearn.grid.options import bundled_folder
from unlearn.limits import require_text, require_yaml

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
        require_usable_lines(where, numbers, line_from, line_to, reactance)
        require_connected(where, numbers, line_from, line_to)
        require_determined(where, numbers, line_from, line_to, reactance, int(self.slack_bus))

    def _keep(self, key: str, shape: tuple[int, ...], negative: bool = False) -> FloatArray:
        """Keep a field as finite float64 of a shape; whoever holds the case holds its fingerprint."""
        name = f"grid {self.name}: {key}"
        array = as_floats(name, getattr(self, key))
        require_shape(name, array, shape)
        if (wrong := ~(np.isfinite(array) & (negative | (array >= 0)))).any():
            expected = "finite numbers" if negative else "finite numbers of at least 0"
            raise InputError(f"{name}: expected {expected}, got {array[wrong][0]:g}.")
        object.__setattr__(self, key, array)
        return array

    def _keep_positions(self, key: str, length: int | None, below: int | None) -> IntArray:
        """Keep a field as at least one whole number, each from 0 to `below` - 1 if that is given."""
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
            return _load_raw(path)
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
    return build_case(settings, where=str(path), folder=path.parent)


def _load_raw(path: Path) -> GridCase:
    try:
        return build_case({"base_case": path.name}, where=str(path), folder=path.parent)
    except InputError as error:
        raise InputError(
            f"{error} To change or add something, load a YAML file beside it that begins with "
            f'"base_case: {path.name}"; grids/ieee14.yaml shows all keys.'
        ) from error


def _no_such_case(name: str, path: Path) -> str:
    """What is wrong with a name or path that is no case, and what was meant perhaps."""
    bundled = sorted(file.stem for file in bundled_folder().glob("*.yaml"))
    if path.parent != bundled_folder():
        what = "is a folder, not a file." if path.is_dir() else "no such file."
    elif name in pypower_cases():
        return f'a case of PYPOWER, which a YAML file of one line loads: "base_case: {name}". Bundled: ' + (
            f"{', '.join(bundled)}."
        )
    else:
        what = "no such case."
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
    read.require_keys(where, settings, _KEYS, needed=["base_case"])
    given = {key: value for key, value in settings.items() if value is not None}
    base = load_base_case(settings["base_case"], folder, where)
    base_mva = require_positive(f"{where}: base_mva", given.get("base_mva", base.base_mva))
    p_max_mw = read.per_item(where, "p_gen_max_mw", given.get("p_gen_max_mw"), base.p_gen_max_mw)
    nominal_mw = read.nominal_load_mw(where, given.get("load", {}), base.load_mw)
    has_load = nominal_mw > 0
    if not has_load.any():
        raise InputError(f"{where}: expected a bus with load, got none in {base.name}; give load.fill.")
    cost = read.generation_cost(where, given.get("generation_cost", {}), base, base_mva)
    read.report_left_out(where, given.get("left_out", []), base)
    limit_mw = read.line_limit_mw(where, given.get("line_limit_mw"), base, p_max_mw, nominal_mw)
    slack = read.slack_bus(where, given.get("slack_bus"), base)
    shedding = read.penalty(where, "shedding_cost", given.get("shedding_cost"), read.SHEDDING, cost)
    storage = read.penalty(where, "storage_cost", given.get("storage_cost"), read.STORAGE, cost)
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
