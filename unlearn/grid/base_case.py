"""The network that a grid's YAML file starts from: a case of PYPOWER or a MATPOWER file, checked.

The DC model here has lossless lines of a reactance, generators from 0 to Pmax and loads; bus angles
follow from injections. So of an AC case, resistances, line charging, bus susceptances and all reactive
power and voltages play no part, as in every DC model. What a fuller DC model would keep and this one
leaves out is listed in `LEFT_OUT`; where a case has any of it, prices differ from such a model's.
Flows must follow from injections: one island, and a susceptance matrix of full rank.
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
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from unlearn.checks import FloatArray, IntArray, as_floats, require_positive
from unlearn.errors import InputError
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
    require_connected(where, base.bus_numbers, base.line_from, base.line_to, base.reactance_pu)


#: Smallest eigenvalue of the scaled matrix of |susceptance| that double precision still resolves well enough.
_RESOLVED = 1e-10

#: Reactances are given with some six digits: if a relative change this small can make the matrix singular, it is.
_DIGITS = 1e-6

#: Branches across which the angles of a singular mode differ by less than this share of the most are not named.
_NAMED = 1e-3


def require_connected(
    where: str, numbers: IntArray, line_from: IntArray, line_to: IntArray, reactance: FloatArray
) -> None:
    """Refuse branches that no flow can be computed for, and a network of several islands.

    Args:
        where: for messages.
        numbers: external bus numbers, shape (M,).
        line_from: position of each line's from bus, shape (L,).
        line_to: position of each line's to bus, shape (L,).
        reactance: of each line, shape (L,).

    Raises:
        InputError: a branch from a bus to itself, or without a reactance that has an inverse; names it, or buses of
            the smallest island.
    """
    for k in np.flatnonzero((line_from == line_to) | ~((np.abs(reactance) > 1e-100) & (np.abs(reactance) < 1e100))):
        name = f"{where}: branch from bus {numbers[line_from[k]]} to bus {numbers[line_to[k]]}"
        if line_from[k] == line_to[k]:
            raise InputError(f"{name}: expected two buses, got one; take the branch out.")
        if not reactance[k]:
            raise InputError(f"{name} has no reactance; give it a small one, or merge the two buses.")
        raise InputError(f"{name}: expected a reactance in per unit, got {reactance[k]:.3g}.")
    links = sp.coo_matrix((np.ones(len(line_from)), (line_from, line_to)), shape=(len(numbers), len(numbers)))
    n_islands, island = connected_components(links, directed=False)
    if n_islands > 1:
        alone = numbers[island == np.argmin(np.bincount(island))]
        raise InputError(
            f"{where}: expected one connected network, got {n_islands} islands; bus {_listed(alone)} has no line in "
            "service to the rest. Keep one island in the case."
        )


def require_determined(
    where: str, numbers: IntArray, line_from: IntArray, line_to: IntArray, reactance: FloatArray, slack: int
) -> None:
    """Refuse a connected network whose flows its injections do not determine.

    The rank decides. Susceptances are compared with their absolute values: the eigenvalues of B relative to the matrix
    |B| built from |1/x| lie between -1 and 1, are all 1 where no reactance is negative, and the smallest in size is the
    relative change of reactances that makes B singular. |B| itself is scaled to a diagonal of 1; it loses its rank in
    double precision where branches of a huge reactance are all that holds parts of a network together.

    Args as of `require_connected`, and the position of the slack bus.

    Raises:
        InputError: names the branches that a flow could circulate in, or that hardly connect their buses.
    """
    kept = np.delete(np.arange(len(numbers)), slack)
    if not len(kept):
        return
    susceptance = 1 / reactance
    absolute = _laplacian(len(numbers), line_from, line_to, np.abs(susceptance))[np.ix_(kept, kept)]
    scale = 1 / np.sqrt(absolute.diagonal())
    values, vectors = np.linalg.eigh(scale[:, None] * absolute * scale)
    if values[0] < _RESOLVED:
        branches = _branches(numbers, line_from, line_to, reactance, kept, scale * vectors[:, 0])
        raise InputError(
            f"{where}: flows are not determined in double precision: {branches} hardly connect what they lie between, "
            f"beside reactances from {np.abs(reactance).min():.3g}. Give reactances in per unit; take a branch that "
            "carries nothing out of the case and keep one island."
        )
    if (susceptance > 0).all():
        return
    whitened = scale[:, None] * vectors / np.sqrt(values)
    own = _laplacian(len(numbers), line_from, line_to, susceptance)[np.ix_(kept, kept)]
    values, vectors = np.linalg.eigh(whitened.T @ own @ whitened)
    worst = int(np.abs(values).argmin())
    if abs(values[worst]) < _DIGITS:
        branches = _branches(numbers, line_from, line_to, reactance, kept, whitened @ vectors[:, worst])
        raise InputError(
            f"{where}: flows are not determined: reactances cancel in {branches}, so that any flow could circulate "
            "there. Merge a series capacitor and its line into one branch with the sum of their reactances, or correct "
            "a reactance."
        )


def _laplacian(size: int, line_from: IntArray, line_to: IntArray, weight: FloatArray) -> FloatArray:
    matrix = np.zeros((size, size))
    np.add.at(matrix, (line_from, line_to), -weight)
    np.add.at(matrix, (line_to, line_from), -weight)
    matrix[np.diag_indices(size)] = -matrix.sum(axis=1)
    return matrix


def _branches(
    numbers: IntArray, line_from: IntArray, line_to: IntArray, reactance: FloatArray, kept: IntArray, mode: FloatArray
) -> str:
    """Branches across which the angles of a mode differ; `mode` holds those of the buses `kept`."""
    angle = np.zeros(len(numbers))
    angle[kept] = mode
    across = np.abs(angle[line_from] - angle[line_to])
    order = np.argsort(-across, kind="stable")
    order = np.sort(order[: int((across >= _NAMED * across.max()).sum())])
    ends = zip(numbers[line_from[order]], numbers[line_to[order]], reactance[order], strict=True)
    return "branches " + _listed([f"{start}-{end} (reactance {x:.4g} p.u.)" for start, end, x in ends])


def _listed(items: object) -> str:
    words = [str(item) for item in items]  # type: ignore[attr-defined]
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
