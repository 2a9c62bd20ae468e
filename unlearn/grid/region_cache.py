"""The region cache: finds the critical region of every hour of a batch, learning as it goes.

An hour is first tried in the regions where hours with the same signs were found before, then in every region known;
for what is left an active-set solver finds a new region, in which the others are tried too. Whatever proposed a
region, an hour is served by it only if all of its checks hold.

Point location is the question in which region a point lies. A `SignTable` proposes an answer from the signs of a few
linear functions of the parameters: the checks of the regions that hold most hours, as far as their sign differs
between hours. Hours with the same signs mostly lie in the same region. It only proposes: the region's own checks
decide.

Why not every region in turn, the most used first: known hours of IEEE 14 take 2.1 times as long, new ones 1.4 times
(those of IEEE 118 as long).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError, SolverError
from unlearn.grid.critical_regions import Pattern, Region, SeparableQp, build_region, propose_active_sets
from unlearn.grid.programs import ParametricQp

#: Smallest check (slack in per unit, multiplier in its `SeparableQp.unit`) that counts as held.
TOLERANCE = 1e-11

#: The same in a region that a search has just found for the hour, relative to its largest parameter or 1: rounding
#: may leave no better one.
SOLVED_TOLERANCE = 1e-9

#: Step (per unit) off an hour's parameters to a point whose region is sought first.
PERTURBATION_PU = 1e-7

#: Memory that the regions of a cache may take up, and as much again what it knows of signs: 7,500 regions of IEEE 14,
#: 220 of IEEE 118.
CACHE_BYTES = 2**28


#: Regions whose checks make up the signs, and hours that are looked at to choose the checks.
REFERENCES, SAMPLE = 4, 4096

#: Memory of the counts of one set of signs, about.
_SIGNS_BYTES = 512

#: Sign tables asked one after the other.
DEPTH = 3


class CacheFullError(Exception):
    """A batch needs more regions than a cache may hold; whoever asked makes room and asks for fewer hours at once."""


@dataclass
class RegionStatistics:
    """What a region cache did so far.

    Attributes:
        hours: hours placed.
        regions: regions that the cache holds.
        hits: hours placed in a region that the cache held when their batch came.
        searched: hours that an active-set search had to place.
        solved: those of them that needed the interior-point solver.
        kkt_residual: bound of any hour's stationarity and feasibility residuals, scaled as in
            `ParametricQp.kkt_residual`. Complementarity needs none: inactive constraints have no multiplier.
    """

    hours: int = 0
    regions: int = 0
    hits: int = 0
    searched: int = 0
    solved: int = 0
    kkt_residual: float = 0.0

    @property
    def hit_rate(self) -> float:
        """Share of hours that lay in a known region."""
        return self.hits / self.hours if self.hours else float("nan")


@dataclass(frozen=True, eq=False)
class Placement:
    """n hours in the order of their regions.

    Attributes:
        order: hour of each column, shape (n,).
        region: region of each column, shape (n,); a number that holds until the cache's next batch.
        outputs: what was wanted of each hour, shape (O, n); memory that the cache's next batch uses again.
        margin: smallest check of each column, shape (n,); near 0 the hour lies on a region's edge.
    """

    order: IntArray
    region: IntArray
    outputs: FloatArray
    margin: FloatArray


class RegionCache:
    """Regions of one QP, and what is known about where hours lie.

    Its memory is bounded: a batch that would need more than `capacity` regions is given up, and `make_room` drops half.
    """

    def __init__(
        self, qp: ParametricQp, outputs: Callable[[Region], FloatArray], differentiated: int | None = None
    ) -> None:
        """Start with the region of no active inequality.

        Args:
            qp: strictly convex QP with a diagonal cost.
            outputs: map (K + 1, O) of what is wanted of an hour, given its region.
            differentiated: number of leading parameters that derivatives are taken in; by default all K.

        Raises:
            InputError: the cost is not strictly convex and separable, or too uneven for double precision.
        """
        self.statistics = RegionStatistics()
        self.regions: list[Region] = []
        self.capacity = 1  # until it is known what a region takes
        self._program, self._qp = qp, SeparableQp(qp)
        self._outputs = outputs
        self._n_checks = len(self._qp.rows)
        # Upwards, because a load of 0 has nothing below; in no special direction, because of symmetries.
        self._perturbation = PERTURBATION_PU * np.random.default_rng(0).uniform(0.5, 1.5, len(self._qp.rhs_map))
        self._perturbation[qp.rhs_slope.shape[1] if differentiated is None else differentiated :] = 0.0
        self._numbers: dict[bytes, int] = {}
        self._maps: list[FloatArray] = []
        self._values = np.empty((0, 0))
        self._residuals = np.zeros((0, len(self._qp.rhs_map)))
        self._used: IntArray = np.zeros(0, dtype=np.int64)
        self._tables: list[SignTable] = []
        self._learnt_hours = 0
        # With no inequality active the equations always have a solution: a region to start searches from.
        if self._number(np.zeros(self._n_checks, dtype=bool)) is None:
            raise InputError(f"{qp.name}: {self._qp.too_uneven()}")
        #: Regions that the cache may hold; a search for one hour proposes up to seven.
        self.capacity = max(16, CACHE_BYTES // (self._maps[0].nbytes + self.regions[0].solution.nbytes))

    @property
    def nbytes(self) -> int:
        """Memory of the regions, in bytes."""
        return sum(both.nbytes for both in self._maps) + sum(region.solution.nbytes for region in self.regions)

    def place(self, hours: FloatArray, names: IntArray | None = None, n_outputs: int | None = None) -> Placement:
        """Find the region of every hour and evaluate what is wanted of it.

        Args:
            hours: parameters with a column of ones at the end, shape (n, K + 1).
            names: number of each hour in messages, shape (n,); by default its position.
            n_outputs: outputs wanted, the first ones; by default all O.

        Raises:
            CacheFullError: the batch needs more regions than the cache has room for; it is as if it had not been tried.
            SolverError: an hour that no solver can place; names it.
        """
        known = len(self.regions)
        likely = int(self._used.argmax()) if len(self._used) else 0
        guess = self._tables[0].propose(hours, likely) if self._tables else np.full(len(hours), likely)
        order = np.argsort(guess, kind="stable")
        trial = _Trial(hours.take(order, axis=0), order if names is None else names[order], guess[order])
        n_rows = len(self._maps[0]) if n_outputs is None else self._n_checks + n_outputs
        trial.values = self._evaluate(trial.hours, trial.region, self._workspace(n_rows, len(hours)))
        trial.margin = trial.values[: self._n_checks].min(axis=0)
        failed = np.flatnonzero(~(trial.margin >= -TOLERANCE))
        for table in self._tables[1:]:
            if failed.size:
                failed = self._try(trial, failed, table.propose(trial.hours.take(failed, axis=0), likely))
        if failed.size:
            self._try_all(trial, failed)
        self._count(trial, known)
        if failed.size:
            self._learn(trial, failed)
        return Placement(order, trial.region, trial.values[self._n_checks :], trial.margin)

    def _workspace(self, n_rows: int, n: int) -> FloatArray:
        """Memory for the values of a batch, used again by the next of its size: fresh pages take long."""
        if self._values.shape != (n_rows, n):
            self._values = np.empty((n_rows, n))
        return self._values

    def _evaluate(self, hours: FloatArray, region: IntArray, values: FloatArray) -> FloatArray:
        """Checks and first outputs (rows, n) of hours sorted by region, into `values`: one product per region."""
        n_rows = len(values)
        for start, stop in runs(region):
            np.matmul(self._maps[region[start]][:n_rows], hours[start:stop].T, out=values[:, start:stop])
        return values

    def _try(self, trial: _Trial, columns: IntArray, guess: IntArray) -> IntArray:
        """Try columns in the regions guessed; returns those that fit none."""
        by_region = np.argsort(guess, kind="stable")
        columns, guess = columns[by_region], guess[by_region]
        values = self._evaluate(trial.hours.take(columns, axis=0), guess, np.empty((len(trial.values), len(columns))))
        worst = values[: self._n_checks].min(axis=0)
        return trial.settle(columns, guess, values, worst, worst >= -TOLERANCE)

    def _try_all(self, trial: _Trial, failed: IntArray) -> None:
        """Try every region, and search for new ones while hours are left; fills in all of them."""
        by_use = np.argsort(-self._used, kind="stable").tolist()
        untried = [*by_use, *range(len(by_use), len(self.regions))]
        nearest, best = trial.region[failed], trial.margin[failed]
        while failed.size:
            found = not untried
            index = (
                self._search(trial.hours[failed[0]], trial.names[failed[0]], nearest[0]) if found else untried.pop(0)
            )
            values = self._maps[index][: len(trial.values)] @ trial.hours[failed].T
            worst = values[: self._n_checks].min(axis=0)
            held = worst >= -TOLERANCE
            held[0] |= found
            closer = worst > best
            nearest, best = np.where(closer, index, nearest)[~held], np.where(closer, worst, best)[~held]
            failed = trial.settle(failed, np.full(len(failed), index), values, worst, held)

    def _search(self, hour: FloatArray, name: int, nearest: int) -> int:
        """Find the region of one hour by the active-set solver, or else by the interior-point solver.

        Raises:
            SolverError: neither of them places the hour.
        """
        self.statistics.searched += 1
        worst, solved_tolerance = -np.inf, SOLVED_TOLERANCE * float(np.abs(hour).max())
        for active, tolerance in self._active_sets(hour, name, nearest, solved_tolerance):
            index = self._number(active)
            if index is not None:
                least = float((self._maps[index][: self._n_checks] @ hour).min())
                if least >= -tolerance:
                    return index
                worst = max(worst, least)
        raise SolverError(
            f"{self._program.name}: hour {name} has no acceptable solution: its best active set violates a check by "
            f"{-worst:.1e}, expected at most {solved_tolerance:.0e}; "
            + (self._qp.too_uneven() if self._qp.is_uneven else "use backend=cvxpylayers for such hours.")
        )

    def _active_sets(
        self, hour: FloatArray, name: int, nearest: int, solved_tolerance: float
    ) -> Iterator[tuple[Pattern, float]]:
        """What may be the hour's active set, and the largest violation of a check that it may have."""
        start, max_steps = self.regions[nearest].active, 10 * self._n_checks
        # On an edge the region must be one that hours nearby lie in, or its derivative would be nobody's.
        for active in propose_active_sets(self._qp, (hour + self._perturbation) @ self._qp.rhs_map, start, max_steps):
            yield active, TOLERANCE
        for active in propose_active_sets(self._qp, hour @ self._qp.rhs_map, start, max_steps):
            yield active, solved_tolerance
        self.statistics.solved += 1
        parameters = hour[None, :-1]
        solutions = self._program.solve(parameters, np.array([name]))
        yield self._program.active(parameters, solutions)[0, self._qp.n_equalities :], solved_tolerance

    def _number(self, active: Pattern) -> int | None:
        """Number of the region of an active set, built if it is new; None if it has no unique solution."""
        name = active.tobytes()
        if name not in self._numbers:
            region = build_region(self._qp, active)
            if region is None:
                return None
            if len(self.regions) >= self.capacity:
                raise CacheFullError
            self._numbers[name] = len(self.regions)
            both = np.ascontiguousarray(np.hstack([region.checks, self._outputs(region)]).T)
            self._maps.append(both)
            # The same numbers twice would take up twice the memory.
            self.regions.append(replace(region, checks=both[: self._n_checks].T))
            self._residuals = np.vstack([self._residuals, region.residual])
        return self._numbers[name]

    def make_room(self) -> None:
        """Keep the regions that most hours were in, half as many as may be, and the first, where searches start."""
        used = np.zeros(len(self.regions), dtype=np.int64)
        used[: len(self._used)] = self._used
        kept = np.unique([0, *np.argsort(-used, kind="stable")[: self.capacity // 2]])
        self.regions, self._maps = [self.regions[k] for k in kept], [self._maps[k] for k in kept]
        self._residuals, self._used = self._residuals[kept], used[kept]
        self._numbers = {region.active.tobytes(): number for number, region in enumerate(self.regions)}
        # Tables name regions by their former numbers.
        self._tables, self._learnt_hours = [], 0

    def _count(self, trial: _Trial, known: int) -> None:
        used = np.bincount(trial.region, minlength=len(self.regions))
        present = np.flatnonzero(used)
        used[: len(self._used)] += self._used
        self._used = used
        # The equations of a region hold up to rounding wherever the hour lies; the checks are the hour's own.
        size = max(float(trial.hours.max()), -float(trial.hours.min()))
        residual = size * float(self._residuals[present].sum(axis=1).max()) + max(0.0, -float(trial.margin.min()))
        statistics = self.statistics
        statistics.hours += len(trial.region)
        statistics.regions = int(np.count_nonzero(used))
        statistics.hits += len(trial.region) if known == len(self.regions) else int((trial.region < known).sum())
        statistics.kkt_residual = max(statistics.kkt_residual, residual)

    def _learn(self, trial: _Trial, failed: IntArray) -> None:
        """Teach the last table what it did not know; choose all of them anew as the hours double."""
        within = sum(table.nbytes for table in self._tables) < CACHE_BYTES
        if self._tables and within and self.statistics.hours < 2 * self._learnt_hours:
            self._tables[-1].learn(trial.hours[failed], trial.region[failed])
        else:
            self._learnt_hours = self.statistics.hours
            checks = [region.checks for region in self.regions]
            self._tables = learn_sign_tables(trial.hours, trial.region, checks)


class _Trial:
    """Hours sorted by the region first tried, and what is found of them; each is a column of `values`."""

    values: FloatArray
    margin: FloatArray

    def __init__(self, hours: FloatArray, names: IntArray, region: IntArray) -> None:
        self.hours, self.names, self.region = hours, names, region

    def settle(
        self, columns: IntArray, region: IntArray, values: FloatArray, worst: FloatArray, held: NDArray[np.bool_]
    ) -> IntArray:
        """Fill in the columns whose checks held; returns the others."""
        inside = columns[held]
        self.region[inside], self.margin[inside], self.values[:, inside] = region[held], worst[held], values[:, held]
        return columns[~held]


def runs(region: IntArray) -> list[tuple[int, int]]:
    """Start and stop of each run of equal entries."""
    edges = [0, *(np.flatnonzero(np.diff(region)) + 1).tolist(), len(region)]
    return list(pairwise(edges))


class SignTable:
    """Signs of S functions of [π, 1], and the region that most hours with the same signs were found in."""

    def __init__(self, functions: FloatArray) -> None:
        """Start without knowledge; `functions` has shape (S, K + 1)."""
        # Single precision is enough for proposals, and half the work.
        self._functions = functions.astype(np.float32)
        # Integers whose sums a float32 holds exactly; a pair of sums names a set of signs.
        largest = 2**24 // (len(functions) + 1)
        self._weights = np.random.default_rng(0).integers(1, largest, (2, len(functions))).astype(np.float32)
        self._seen: dict[float, Counter[int]] = {}
        self._keys, self._regions = np.zeros(1), np.full(1, -1)

    @classmethod
    def choose(cls, hours: FloatArray, region: IntArray, checks: list[FloatArray]) -> SignTable:
        """Choose the functions by hours (n, K + 1) whose regions are known; `checks` holds each region's map."""
        common = [index for index, _ in Counter(region.tolist()).most_common(REFERENCES)]
        functions = np.hstack([checks[index] for index in common]).T
        negative = functions @ hours[:: max(1, len(hours) // SAMPLE)].T < 0
        varies = negative.any(axis=1) & ~negative.all(axis=1)
        return cls(np.ascontiguousarray(functions[varies]))

    @property
    def nbytes(self) -> int:
        """Memory of what was seen, in bytes; about, because a count is a Python object."""
        return len(self._seen) * _SIGNS_BYTES

    def propose(self, hours: FloatArray, otherwise: int) -> IntArray:
        """The most frequent region of earlier hours with the same signs, (n,); `otherwise` if there were none."""
        names = self._name(hours)
        place = np.minimum(np.searchsorted(self._keys, names), len(self._keys) - 1)
        return np.where((self._keys[place] == names) & (self._regions[place] >= 0), self._regions[place], otherwise)

    def learn(self, hours: FloatArray, region: IntArray) -> None:
        """Count where these hours were found."""
        pairs, counts = np.unique(np.stack([self._name(hours), region]), axis=1, return_counts=True)
        for name, index, count in zip(pairs[0].tolist(), pairs[1].astype(int).tolist(), counts.tolist(), strict=True):
            self._seen.setdefault(name, Counter())[index] += count
        self._keys = np.array(sorted(self._seen))
        self._regions = np.array([self._seen[name].most_common(1)[0][0] for name in self._keys.tolist()])

    def _name(self, hours: FloatArray) -> FloatArray:
        """A number for each hour's signs, shape (n,)."""
        negative = self._functions @ hours.astype(np.float32).T < 0
        high, low = self._weights @ negative.astype(np.float32)
        return high.astype(np.float64) * 2**24 + low


def learn_sign_tables(hours: FloatArray, region: IntArray, checks: list[FloatArray]) -> list[SignTable]:
    """Tables from hours (n, K + 1) of known regions (n,), each learnt from the hours that those before it misplace."""
    tables: list[SignTable] = []
    while len(hours) and len(tables) < DEPTH:
        tables.append(SignTable.choose(hours, region, checks))
        tables[-1].learn(hours, region)
        wrong = tables[-1].propose(hours, -1) != region
        hours, region = hours[wrong], region[wrong]
    return tables
