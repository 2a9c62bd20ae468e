"""Generators that copy too much or know too little: what a real generator is measured against."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unlearn.checks import FloatArray, IntArray, require_count
from unlearn.errors import InputError
from unlearn.generators.base import Generator

if TYPE_CHECKING:
    from unlearn.households.profiles import DailyProfiles, EnergyArray

#: Fewer rows than this give a label cell no mean and deviation of its own.
MIN_CELL_ROWS = 30

#: Between the seeds of simulated households that are released and of those that stand for real ones.
_OTHER_PEOPLE = 1_000_003


@dataclass(frozen=True)
class _Baseline(Generator):
    """Draws training profiles with replacement, with their labels, and changes their energies."""

    def release(
        self, train: DailyProfiles, n: int, seed: int = 0, folder: Path | None = None, shared: Path | None = None
    ) -> DailyProfiles:
        """Release exactly n profiles.

        Raises:
            InputError: no training profiles, or n below 1.
        """
        from unlearn.households.profiles import DailyProfiles

        random = np.random.default_rng(seed)
        require_count("n", n)
        if not len(train):
            raise InputError(f"train: expected profiles to draw from, got none in {train.name}.")
        rows = random.integers(len(train), size=n)
        labels = (train.month[rows], train.day_of_week[rows], train.segment[rows])
        return DailyProfiles(self.name, self._energy(train, rows, random), *labels, train.segments)

    def _energy(self, train: DailyProfiles, rows: IntArray, random: np.random.Generator) -> EnergyArray:
        raise NotImplementedError


@dataclass(frozen=True)
class Resampled(_Baseline):
    """Copies training profiles: perfect fidelity, no privacy."""

    name: str = field(default="resampled", compare=False)

    def _energy(self, train: DailyProfiles, rows: IntArray, random: np.random.Generator) -> EnergyArray:
        return train.kwh[rows]


@dataclass(frozen=True)
class ShuffledHours(_Baseline):
    """Permutes the steps of each drawn training profile: the right level at the wrong times."""

    name: str = field(default="shuffled_hours", compare=False)

    def _energy(self, train: DailyProfiles, rows: IntArray, random: np.random.Generator) -> EnergyArray:
        return random.permuted(train.kwh[rows], axis=1)


@dataclass(frozen=True)
class IndependentGaussian(_Baseline):
    """Draws each step by itself from a normal distribution, clipped at 0.

    Mean and standard deviation are those of the step among training profiles of the same month, day of the week and
    segment, or among all of them where that cell has fewer than `MIN_CELL_ROWS`.
    """

    name: str = field(default="independent_gaussian", compare=False)

    def _energy(self, train: DailyProfiles, rows: IntArray, random: np.random.Generator) -> EnergyArray:
        cell, mean, deviation = _moments_by_cell(train)
        drawn = mean[cell[rows]] + deviation[cell[rows]] * random.standard_normal((len(rows), train.n_steps))
        return np.maximum(drawn, 0.0).astype(np.float32)


def _moments_by_cell(train: DailyProfiles) -> tuple[IntArray, FloatArray, FloatArray]:
    """The label cell of each profile, shape (N,), and mean and deviation in kWh of each cell, shape (cells, S)."""
    code = np.ravel_multi_index(
        (train.month - 1, train.day_of_week, train.segment), (12, 7, max(len(train.segments), 1))
    )
    _, cell, count = np.unique(code, return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    energy = train.kwh.astype(np.float64)
    ordered = energy[np.argsort(cell, kind="stable")]
    mean = np.add.reduceat(ordered, starts) / count[:, None]
    # Two passes: the difference of squares would lose digits.
    centred = ordered - np.repeat(mean, count, axis=0)
    deviation = np.sqrt(np.add.reduceat(centred**2, starts) / count[:, None])
    sparse = count < MIN_CELL_ROWS
    mean[sparse], deviation[sparse] = energy.mean(axis=0), energy.std(axis=0)
    return cell, mean, deviation


@dataclass(frozen=True)
class SimulatorGenerator(Generator):
    """Days of other simulated households: a release that has seen no real data.

    Attributes:
        name: of its releases.
        n_households: that days are drawn from.
        start: their first day.
        n_days: of each.
        ev_share: share of households with an electric vehicle.
        heat_pump_share: share with a heat pump.
        solar_share: share with solar cells.
    """

    learns: ClassVar[bool] = False

    name: str = field(default="simulator", compare=False)
    n_households: int = 200
    start: str = "2013-01-01"
    n_days: int = 365
    ev_share: float = 0.03
    heat_pump_share: float = 0.01
    solar_share: float = 0.02

    def release(
        self, train: DailyProfiles, n: int, seed: int = 0, folder: Path | None = None, shared: Path | None = None
    ) -> DailyProfiles:
        """Release n of the simulated days; of the training households nothing is used.

        Raises:
            InputError: settings that the simulator refuses, or n below 1.
        """
        from unlearn.households.simulator import simulate_households

        options = asdict(self)
        name = options.pop("name")
        simulated = simulate_households(random_state=_OTHER_PEOPLE + seed, **options)
        return Resampled(name).release(simulated, n, seed)
