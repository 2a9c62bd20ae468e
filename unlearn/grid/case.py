"""Grid cases: a YAML file names a case of PYPOWER or a MATPOWER file, and what is changed in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import unlearn.grid.settings as read
from unlearn.checks import FloatArray, IntArray, require_positive
from unlearn.errors import InputError
from unlearn.grid.base_case import load_base_case

_KEYS = (
    "name", "base_case", "base_mva", "slack_bus", "load", "line_limit_mw", "p_gen_max_mw",
    "generation_cost", "shedding_cost", "storage_cost", "left_out",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class GridCase:
    """A network with M buses, L lines, G generators and B loads; powers in per unit.

    The DC model has lossless lines, generators from 0 to their upper limit, loads of at least 0 and
    nothing else: no taps, phase shifts, shunts, line charging, minimum generation or DC lines.

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
        InputError: no such case, a misspelt key, an unknown base case or one that the DC model cannot
            take (see `base_case`), a list of the wrong length, or a constant that is not positive;
            the message names the file.
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
    return build_case(settings, where=str(path), folder=path.parent)


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
    return GridCase(
        name=str(given.get("name", base.name)),
        base_mva=base_mva,
        bus_numbers=base.bus_numbers,
        slack_bus=read.slack_bus(where, given.get("slack_bus"), base),
        line_from=base.line_from,
        line_to=base.line_to,
        reactance_pu=base.reactance_pu * (base_mva / base.base_mva),
        line_limit_pu=read.line_limit_mw(where, given.get("line_limit_mw"), base, p_max_mw, nominal_mw) / base_mva,
        gen_bus=base.gen_bus,
        p_gen_max_pu=p_max_mw / base_mva,
        load_bus=np.flatnonzero(has_load),
        nominal_load_mw=nominal_mw[has_load],
        generation_cost=cost,
        shedding_cost=read.penalty(where, "shedding_cost", given.get("shedding_cost"), read.SHEDDING, cost),
        storage_cost=read.penalty(where, "storage_cost", given.get("storage_cost"), read.STORAGE, cost),
    )


def _bundled() -> Path:
    """Folder of the bundled cases: package data of an installed wheel, else the checkout's `grids/`."""
    package = Path(__file__).resolve().parents[1]
    return package / "grids" if (package / "grids").is_dir() else package.parent / "grids"
