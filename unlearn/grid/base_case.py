"""The network that a grid's YAML file starts from: a case of PYPOWER or a MATPOWER file, checked.

The DC model here has lossless lines of a reactance, generators from 0 to Pmax and loads; bus angles
follow from injections. So of an AC case, resistances, line charging, bus susceptances and all reactive
power and voltages play no part, as in every DC model. What a fuller DC model would keep and this one
leaves out is listed in `LEFT_OUT`; where a case has any of it, prices differ from such a model's.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pypower

from unlearn.checks import FloatArray, IntArray, as_floats, require_positive
from unlearn.errors import InputError
from unlearn.grid.connection import require_connected, require_usable_lines
from unlearn.grid.matpower import read_m, read_mat

#: Endings of MATPOWER files, in small letters.
RAW_ENDINGS = (".m", ".mat")

# Columns of a case's arrays (case format version 2), and how many of them a row has at least.
_BUS_NUMBER, _BUS_TYPE, _BUS_LOAD, _BUS_CONDUCTANCE = 0, 1, 2, 4
_GEN_BUS, _GEN_STATUS, _GEN_MAX, _GEN_MIN = 0, 7, 8, 9
_FROM, _TO, _REACTANCE, _RATE, _TAP, _SHIFT, _BRANCH_STATUS = 0, 1, 3, 5, 8, 9, 10
_COST_MODEL, _COST_TERMS, _COST_FIRST = 0, 3, 4
_COLUMNS = {"bus": 13, "gen": 10, "branch": 11}
_REFERENCE, _ISOLATED = 3, 4


@dataclass(frozen=True, eq=False)
class BaseCase:
    """A connected network as its file holds it, without what is out of service; powers in MW.

    Attributes:
        name: name of the case.
        base_mva: power base that reactances are per unit on.
        bus: MATPOWER's bus matrix, shape (M, 13 or more).
        gen: generators in service, shape (G, 10 or more).
        branch: branches in service, shape (L, 11 or more).
        gencost: their active-power cost rows, shape (G, 4 or more); None if the file has none.
        has_dc_lines: some DC line is in the file.
    """

    name: str
    base_mva: float
    bus: FloatArray
    gen: FloatArray
    branch: FloatArray
    gencost: FloatArray | None
    has_dc_lines: bool

    @property
    def bus_numbers(self) -> IntArray:
        return self.bus[:, _BUS_NUMBER].astype(np.int64)

    @property
    def load_mw(self) -> FloatArray:
        return self.bus[:, _BUS_LOAD]

    @property
    def p_gen_max_mw(self) -> FloatArray:
        return self.gen[:, _GEN_MAX]

    @property
    def gen_bus(self) -> IntArray:
        return self._positions(self.gen[:, _GEN_BUS])

    @property
    def line_from(self) -> IntArray:
        return self._positions(self.branch[:, _FROM])

    @property
    def line_to(self) -> IntArray:
        return self._positions(self.branch[:, _TO])

    @property
    def reactance_pu(self) -> FloatArray:
        return self.branch[:, _REACTANCE]

    @property
    def line_limit_mw(self) -> FloatArray:
        """Thermal limits; infinite where the file holds 0, which means no limit."""
        return np.where(self.branch[:, _RATE] == 0, np.inf, self.branch[:, _RATE])

    @property
    def reference_buses(self) -> IntArray:
        return self.bus_numbers[self.bus[:, _BUS_TYPE] == _REFERENCE]

    def _positions(self, numbers: FloatArray) -> IntArray:
        order = np.argsort(self.bus_numbers)
        return order[np.searchsorted(self.bus_numbers, numbers.astype(np.int64), sorter=order)]

    def generation_cost(self, where: str) -> FloatArray:
        """Quadratic and linear cost per MW² and MW, shape (2, G); the constant term is left out.

        Raises:
            InputError: no costs, piecewise linear ones, or polynomials above the second degree.
        """
        remedy = f"give generation_cost in {where}."
        if self.gencost is None:
            raise InputError(f"{where}: {self.name} has no gencost; {remedy}")
        cost = np.zeros((2, len(self.gen)))
        for k, row in enumerate(self.gencost):
            who = f"{where}: {self.name}: gencost of generator {k + 1} (bus {self.gen[k, _GEN_BUS]:.0f})"
            if row[_COST_MODEL] != 2:
                raise InputError(f"{who}: expected a polynomial (model 2), got model {row[_COST_MODEL]:g}; {remedy}")
            width = len(row) - _COST_FIRST
            if not row[_COST_TERMS] >= 1 or row[_COST_TERMS] != np.round(row[_COST_TERMS]):
                raise InputError(f"{who}: expected 1 to {width} coefficients, got {row[_COST_TERMS]:g}; {remedy}")
            terms = int(min(row[_COST_TERMS], width + 1))
            polynomial = row[_COST_FIRST : _COST_FIRST + terms]
            if terms > width or not np.isfinite(polynomial).all():
                got = ", ".join(f"{x:g}" for x in polynomial)
                raise InputError(f"{who}: expected {row[_COST_TERMS]:.0f} finite coefficients, got [{got}]; {remedy}")
            if polynomial[:-3].any():
                raise InputError(f"{who}: expected a degree of at most 2, got {terms - 1}; {remedy}")
            rising = np.concatenate([polynomial[::-1], np.zeros(3)])
            cost[:, k] = rising[2], rising[1]
        return cost


#: What a fuller DC model keeps and this one leaves out: name, how it is seen, what is said of it.
LEFT_OUT: dict[str, tuple[Callable[[BaseCase], int], str]] = {
    "p_gen_min": (
        lambda base: int((base.gen[:, _GEN_MIN] != 0).sum()),
        "generators with a lower limit Pmin other than 0; they run from 0 to Pmax",
    ),
    "taps": (
        lambda base: int((~np.isin(base.branch[:, _TAP], (0, 1))).sum()),
        "transformers with a tap ratio other than 1; it counts as 1",
    ),
    "phase_shifts": (
        lambda base: int((base.branch[:, _SHIFT] != 0).sum()),
        "transformers that shift the phase; the shift counts as 0",
    ),
    "shunt_conductance": (
        lambda base: int((base.bus[:, _BUS_CONDUCTANCE] != 0).sum()),
        "buses with a shunt conductance; it draws nothing",
    ),
    "negative_loads": (
        lambda base: int((base.load_mw < 0).sum()),
        "buses with a negative load; nothing is fed in there",
    ),
    "dc_lines": (lambda base: int(base.has_dc_lines), "set of DC lines; they carry nothing"),
}


def load_base_case(name: str, folder: Path, where: str) -> BaseCase:
    """Load a case by PYPOWER's name ("case14") or from a MATPOWER file, and check its network.

    Args:
        name: name, or a path ending in .m or .mat, relative to `folder`.
        folder: folder of the YAML file that names the case.
        where: that file, for messages.

    Raises:
        InputError: no such case, a matrix missing or too narrow, unknown or isolated buses, islands,
            a branch without reactance; names the bus, branch or generator.
    """
    if not isinstance(name, str):
        raise InputError(f"{where}: base_case {name!r} is no PYPOWER case and no path; expected text such as case14.")
    ending = Path(name).suffix.lower()
    if ending in RAW_ENDINGS:
        path = folder / Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"{where}: base_case {name!r}: no such file as {path}; paths are relative to the YAML.")
        raw = read_m(path) if ending == ".m" else read_mat(path)
    else:
        raw = _pypower_case(name, where)
    return _checked(raw, Path(name).stem, f"{where}: base_case {name}")


@cache
def pypower_cases() -> tuple[str, ...]:
    """Names of the cases that PYPOWER carries; other modules of it have a function of their own name, too."""
    names = (module.name for module in pkgutil.iter_modules(pypower.__path__))
    return tuple(sorted(name for name in names if re.fullmatch(r"case\d\w*", name)))


def _pypower_case(name: str, where: str) -> dict[str, Any]:
    if name not in pypower_cases():
        near = difflib.get_close_matches(name, pypower_cases(), n=1)
        meant = f"; did you mean {near[0]!r}?" if near else f" ({', '.join(pypower_cases())})"
        raise InputError(f"{where}: base_case {name!r} is no PYPOWER case and no path to a .m or .mat file{meant}.")
    return getattr(importlib.import_module(f"pypower.{name}"), name)()


def _checked(raw: Mapping[str, Any], name: str, where: str) -> BaseCase:
    if missing := sorted({"baseMVA", *_COLUMNS} - set(raw)):
        raise InputError(f"{where}: expected a case of format version 2, got one without {', '.join(missing)}.")
    table = {key: as_floats(f"{where}: {key}", raw[key], 2) for key in _COLUMNS}
    for key, columns in _COLUMNS.items():
        if not len(table[key]) or table[key].shape[1] < columns:
            raise InputError(f"{where}: {key}: expected rows of at least {columns} columns, got {table[key].shape}.")
    bus, gen, branch = table["bus"], table["gen"], table["branch"]
    gencost = as_floats(f"{where}: gencost", raw["gencost"], 2) if np.size(raw.get("gencost", ())) else None
    if gencost is not None and (len(gencost) not in (len(gen), 2 * len(gen)) or gencost.shape[1] <= _COST_FIRST):
        raise InputError(f"{where}: gencost: expected a row for each of {len(gen)} generators, got {gencost.shape}.")
    for key, status in (("gen", gen[:, _GEN_STATUS]), ("branch", branch[:, _BRANCH_STATUS])):
        if np.isnan(status).any():
            row = int(np.flatnonzero(np.isnan(status))[0]) + 1
            raise InputError(f"{where}: {key}: expected a status of 1 or 0, got NaN in row {row}.")
    running, closed = gen[:, _GEN_STATUS] > 0, branch[:, _BRANCH_STATUS] > 0
    base = BaseCase(
        name=name,
        base_mva=require_positive(f"{where}: baseMVA", _one_number(f"{where}: baseMVA", raw["baseMVA"])),
        bus=bus,
        gen=gen[running],
        branch=branch[closed],
        gencost=None if gencost is None else gencost[: len(gen)][running],
        has_dc_lines=bool(np.size(raw.get("dcline", ()))),
    )
    _require_network(base, where)
    return base


def _one_number(name: str, value: Any) -> float:
    array = as_floats(name, value)
    if array.size != 1:
        raise InputError(f"{name}: expected one number, got {array.size}.")
    return float(array.flat[0])


def _require_network(base: BaseCase, where: str) -> None:
    bus, gen, branch = base.bus, base.gen, base.branch
    for key, used in (("bus", bus[:, :5]), ("gen", gen[:, [_GEN_BUS]]), ("branch", branch[:, :4])):
        if not (finite := np.isfinite(used).all(axis=1)).all():
            row = used[~finite][0]
            named = f" ({row[0]:g}-{row[1]:g})" if key == "branch" else f" (bus {row[0]:g})"
            raise InputError(
                f"{where}: {key}: expected finite numbers, got NaN or infinity in row "
                f"{int(np.flatnonzero(~finite)[0]) + 1} of those in service{named if np.isfinite(row[0]) else ''}. "
                "Correct it, or take the row out of service."
            )
    for key, ends in (("bus", bus[:, _BUS_NUMBER]), ("gen", gen[:, _GEN_BUS]), ("branch", branch[:, [_FROM, _TO]])):
        if (wrong := (ends != np.round(ends)) | (np.abs(ends) >= 2**53)).any():
            raise InputError(f"{where}: {key}: expected whole bus numbers, got {ends[wrong][0]:g}.")
    numbers, counts = np.unique(base.bus_numbers, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{where}: bus {numbers[counts > 1][0]} is there twice.")
    for key, ends in (("gen", gen[:, _GEN_BUS]), ("branch", branch[:, [_FROM, _TO]])):
        if (unknown := ~np.isin(ends, numbers)).any():
            raise InputError(f"{where}: {key}: bus {ends[unknown][0]:g} is not among its buses.")
    if not len(gen):
        raise InputError(f"{where}: expected at least one generator in service, got none.")
    if (isolated := bus[:, _BUS_TYPE] == _ISOLATED).any():
        raise InputError(
            f"{where}: bus {base.bus_numbers[isolated][0]} is isolated (type 4); take it out of the case, and what is "
            "connected to it."
        )
    require_usable_lines(where, base.bus_numbers, base.line_from, base.line_to, base.reactance_pu)
    require_connected(where, base.bus_numbers, base.line_from, base.line_to)
