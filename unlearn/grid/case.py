"""Grid cases: a YAML file names a PYPOWER case and what is changed in it."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from unlearn.checks import FloatArray, IntArray, as_floats, require_positive, require_shape
from unlearn.errors import InputError

_KEYS = {
    "name", "base_case", "base_mva", "slack_bus", "load", "line_limit_mw", "p_gen_max_mw",
    "generation_cost", "shedding_cost", "storage_cost",
}  # fmt: skip

# Columns of PYPOWER's arrays (case format version 2).
_BUS_NUMBER, _BUS_LOAD = 0, 2
_GEN_BUS, _GEN_STATUS, _GEN_MAX = 0, 7, 8
_FROM, _TO, _REACTANCE, _RATE, _BRANCH_STATUS = 0, 1, 3, 5, 10


@dataclass(frozen=True, eq=False)
class GridCase:
    """A network with M buses, L lines, G generators and B loads; powers in per unit.

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
    """Load a grid case by name ("ieee14") or from a YAML file of one's own.

    Raises:
        InputError: no such case, a misspelt or missing key, an unknown PYPOWER case, a list of
            the wrong length, or a constant that is not positive; the message names the file.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = _bundled() / f"{name_or_path}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in _bundled().glob("*.yaml")))
        raise InputError(f"grid {name_or_path!r}: no such case. Bundled: {names}; or give a path to a YAML file.")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected YAML, got {error}.") from error
    return build_case(settings, where=str(path))


def build_case(settings: Mapping[str, Any], where: str = "grid settings") -> GridCase:
    """Build a case from the mapping that a grid's YAML file holds; see `grids/ieee14.yaml`."""
    _require_keys(where, settings, _KEYS)
    base = _pypower_case(settings["base_case"], where)
    base_mva = require_positive(f"{where}: base_mva", settings["base_mva"])
    bus, gen, branch = base["bus"], base["gen"], base["branch"]
    gen = gen[gen[:, _GEN_STATUS] > 0]
    branch = branch[branch[:, _BRANCH_STATUS] > 0]
    numbers = bus[:, _BUS_NUMBER].astype(np.int64)
    position = {int(number): i for i, number in enumerate(numbers)}
    if settings["slack_bus"] not in list(position):
        raise InputError(f"{where}: slack_bus {settings['slack_bus']} is no bus of {settings['base_case']}.")
    limit_mw = _per_item(where, "line_limit_mw", settings["line_limit_mw"], branch[:, _RATE])
    p_max_mw = _per_item(where, "p_gen_max_mw", settings["p_gen_max_mw"], gen[:, _GEN_MAX])
    nominal_mw = _nominal_load_mw(where, settings["load"], bus[:, _BUS_LOAD])
    has_load = nominal_mw > 0
    cost = settings["generation_cost"]
    _require_keys(f"{where}: generation_cost", cost, {"quadratic", "linear"})
    quadratic = _per_item(where, "generation_cost.quadratic", cost["quadratic"], np.zeros(len(gen)))
    linear = _per_item(where, "generation_cost.linear", cost["linear"], np.zeros(len(gen)))

    def buses(column: FloatArray) -> IntArray:
        return np.array([position[int(number)] for number in column], dtype=np.int64)

    return GridCase(
        name=str(settings["name"]),
        base_mva=base_mva,
        bus_numbers=numbers,
        slack_bus=position[settings["slack_bus"]],
        line_from=buses(branch[:, _FROM]),
        line_to=buses(branch[:, _TO]),
        reactance_pu=branch[:, _REACTANCE],
        line_limit_pu=limit_mw / base_mva,
        gen_bus=buses(gen[:, _GEN_BUS]),
        p_gen_max_pu=p_max_mw / base_mva,
        load_bus=np.flatnonzero(has_load),
        nominal_load_mw=nominal_mw[has_load],
        generation_cost=np.stack([quadratic, linear]),
        shedding_cost=_penalty(where, "shedding_cost", settings["shedding_cost"]),
        storage_cost=_penalty(where, "storage_cost", settings["storage_cost"]),
    )


def _bundled() -> Path:
    """Folder of the bundled cases: package data of an installed wheel, else the checkout's `grids/`."""
    package = Path(__file__).resolve().parents[1]
    return package / "grids" if (package / "grids").is_dir() else package.parent / "grids"


def _require_keys(where: str, settings: Any, keys: set[str]) -> None:
    if not isinstance(settings, Mapping) or set(settings) != keys:
        have = set(settings) if isinstance(settings, Mapping) else set()
        raise InputError(
            f"{where}: missing keys {sorted(keys - have)}, unknown keys {sorted(map(str, have - keys))}; "
            "grids/ieee14.yaml shows all of them."
        )


def _pypower_case(name: str, where: str) -> dict[str, Any]:
    # Other modules of PYPOWER, such as runpf, have a function of their own name that would run.
    try:
        if not str(name).startswith("case"):
            raise ModuleNotFoundError(f"pypower.{name}")
        module = importlib.import_module(f"pypower.{name}")
    except ModuleNotFoundError as error:
        raise InputError(f"{where}: base_case {name!r} is no PYPOWER case (expected case14, say).") from error
    return getattr(module, name)()


def _per_item(where: str, key: str, value: Any, default: FloatArray) -> FloatArray:
    """Read a list with one non-negative number per branch or generator; null means `default`."""
    array = default if value is None else as_floats(f"{where}: {key}", value)
    require_shape(f"{where}: {key}", array, (len(default),))
    if not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"{where}: {key}: expected finite numbers of at least 0, got {array.min()}.")
    return array


def _penalty(where: str, key: str, value: Mapping[str, float]) -> tuple[float, float]:
    # Both must be positive: they make the programs strictly convex (Proposition 1).
    _require_keys(f"{where}: {key}", value, {"quadratic", "linear"})
    return (
        require_positive(f"{where}: {key}.quadratic", value["quadratic"]),
        require_positive(f"{where}: {key}.linear", value["linear"]),
    )


def _nominal_load_mw(where: str, settings: Mapping[str, Any], base_mw: FloatArray) -> FloatArray:
    """Scale the base case's loads and, if asked, give load to the buses that have none."""
    _require_keys(f"{where}: load", settings, {"scale", "fill"})
    scaled = require_positive(f"{where}: load.scale", settings["scale"]) * base_mw
    fill = settings["fill"]
    if fill is None:
        return scaled
    _require_keys(f"{where}: load.fill", fill, {"rule", "cap"})
    if fill["rule"] != "mean_sqrt":
        raise InputError(f"{where}: load.fill.rule: expected mean_sqrt, got {fill['rule']!r}.")
    cap = require_positive(f"{where}: load.fill.cap", fill["cap"])
    rising = scaled.mean() * np.sqrt(np.arange(len(scaled)) + 1)
    return np.where(scaled > 0, scaled, np.minimum(rising, cap * scaled.max()))
