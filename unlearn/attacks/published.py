"""What an attacker compares: released records as arrays, the readings that he knows, and whose records are whose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    as_floats,
    require_choice,
    require_count,
    require_finite,
    require_not_negative,
    require_shape,
)
from unlearn.errors import InputError

#: What a released value says of the readings in its step.
KINDS = ("sum", "min", "max", "group_sum")

#: Entries of a block of comparisons, which bounds memory.
_BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class PublishedSeries:
    """Released records, as arrays.

    Attributes:
        values: in kWh, NaN where suppressed, shape (R, T').
        step_of: the released step that each original step falls into, -1 for none, shape (T,).
        kind: what a value is: "sum", the energy of the step; "min" or "max", its smallest or largest reading;
            "group_sum", the energy of several households, of which one household's is at most all.
        tolerance: kWh by which a value may differ from the truth, such as half of the width that it is rounded to.
    """

    values: FloatArray
    step_of: IntArray
    kind: str = "sum"
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        values, step_of = as_floats("release.values", self.values, ndim=2), np.asarray(self.step_of)
        if step_of.ndim != 1 or not np.issubdtype(step_of.dtype, np.integer):
            raise InputError(
                f"release.step_of: expected a whole number for each original step, got {step_of.dtype} of shape "
                f"{step_of.shape}."
            )
        if not values.size or (len(step_of) and not -1 <= step_of.min() <= step_of.max() < values.shape[1]):
            raise InputError(
                f"release.step_of: expected steps of the {values.shape[1]} that the release has, or -1, and at least "
                f"one record; got {int(step_of.min(initial=-1))} to {int(step_of.max(initial=-1))}."
            )
        require_choice("release.kind", self.kind, KINDS)
        require_not_negative("release.tolerance", self.tolerance)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "step_of", step_of.astype(np.int64))

    def readings_per_step(self) -> IntArray:
        """Original steps in each released one, shape (T',)."""
        return np.bincount(self.step_of[self.step_of >= 0], minlength=self.values.shape[1])


def known_readings(n_targets: int, n_steps: int, n: int, kind: str = "scattered", seed: int = 0) -> IntArray:
    """Draw which steps an attacker knows of each target.

    Args:
        n_targets: households attacked, C.
        n_steps: steps of their readings, T.
        n: steps known of each.
        kind: "scattered", any n steps; "consecutive", n in a row.
        seed: of the draw.

    Returns:
        Steps in ascending order, shape (C, n).

    Raises:
        InputError: an unknown kind, or more known steps than there are.
    """
    for name, value in (("n_targets", n_targets), ("n_steps", n_steps), ("n", n)):
        require_count(name, value)
    require_choice("kind", kind, ("scattered", "consecutive"))
    if n > n_steps:
        raise InputError(f"n: expected at most the {n_steps} steps that there are, got {n}.")
    random = np.random.default_rng(seed)
    if kind == "consecutive":
        return random.integers(n_steps - n + 1, size=(n_targets, 1)) + np.arange(n)
    known = np.empty((n_targets, n), dtype=np.int64)
    for block in blocks(n_targets, n_steps):
        order = random.random((len(known[block]), n_steps))
        known[block] = np.sort(np.argpartition(order, n - 1, axis=1)[:, :n], axis=1)
    return known


class Knowledge:
    """Readings of targets, and which of them an attacker knows.

    Args:
        kwh: readings of the targets, shape (C, T).
        known: steps known of each, shape (C, n).

    Raises:
        InputError: shapes that do not fit, steps out of range or twice, readings that are negative or not finite.
    """

    def __init__(self, kwh: ArrayLike, known: ArrayLike) -> None:
        self.kwh = as_floats("kwh", kwh, ndim=2)
        steps = np.asarray(known)
        require_shape("known", steps, (len(self.kwh), None))
        if not steps.size or not np.issubdtype(steps.dtype, np.integer):
            raise InputError(f"known: expected steps as whole numbers, at least one of each target, got {steps.dtype}.")
        if steps.min() < 0 or steps.max() >= self.kwh.shape[1]:
            raise InputError(f"known: expected steps from 0 to {self.kwh.shape[1] - 1}, got others.")
        self.known = np.sort(steps, axis=1)
        if (np.diff(self.known, axis=1) == 0).any():
            raise InputError("known: expected each step of a target once, got repeated ones. Drop repeats.")
        self.readings = np.take_along_axis(self.kwh, self.known, axis=1)
        require_finite("known readings", self.readings)
        if self.readings.min() < 0:
            # What is not known could be negative as well, and would bound nothing.
            raise InputError(
                "known readings: expected energies of at least 0, got negative ones. Take consumption alone."
            )

    def by_step(self, part: PublishedSeries, block: slice) -> tuple[IntArray, IntArray, FloatArray]:
        """The released step of each known reading, how many known ones are in that step, and what they make together.

        The step is -1 where nothing is released. What they make is their sum, the smallest or the largest, as the kind
        of the release asks; shape (b, n) each.
        """
        step, reading = part.step_of[self.known[block]], self.readings[block]
        width = part.values.shape[1] + 1
        # Readings in no released step share a column of their own.
        cell = (step + 1 + width * np.arange(len(step))[:, None]).ravel()
        places, inverse = np.unique(cell, return_inverse=True)
        count = np.bincount(inverse)
        if part.kind in ("sum", "group_sum"):
            made = np.bincount(inverse, reading.ravel())
        else:
            choose, start = (np.minimum, np.inf) if part.kind == "min" else (np.maximum, -np.inf)
            made = np.full(len(places), start)
            choose.at(made, inverse, reading.ravel())
        return step, count[inverse].reshape(step.shape), made[inverse].reshape(step.shape)


class Owners:
    """Whose records are whose.

    Args:
        owner: target that each record is of, -1 for nobody's, shape (R,); or shape (R, k) where records have up to k
            owners, filled up with -1.
        n_records: R.
        n_targets: C. Owners beyond the targets are persons, too; they are not attacked.

    Raises:
        InputError: another shape, or no whole numbers from -1.
    """

    def __init__(self, owner: ArrayLike, n_records: int, n_targets: int) -> None:
        who = np.asarray(owner)
        self.owner = who[:, None] if who.ndim == 1 else who
        require_shape("owner", self.owner, (n_records, None))
        if not np.issubdtype(who.dtype, np.integer) or who.min(initial=-1) < -1:
            raise InputError(
                f"owner: expected positions of targets as whole numbers, or -1 for nobody, got {who.dtype}."
            )
        self.weight = np.maximum((self.owner >= 0).sum(axis=1), 1)
        self.n_targets = n_targets

    def by(self, block: slice) -> BoolArray:
        """Which records each target of a block owns, shape (b, R)."""
        first, stop, _ = block.indices(self.n_targets)
        found = np.zeros((stop - first, len(self.owner)), dtype=bool)
        record, place = np.nonzero((self.owner >= first) & (self.owner < stop))
        found[self.owner[record, place] - first, record] = True
        return found


def require_same_records(release: PublishedSeries | Sequence[PublishedSeries], n_steps: int) -> list[PublishedSeries]:
    """Return the series of a release as a list.

    Raises:
        InputError: none, of other records each, or of other than n_steps original steps.
    """
    series = [release] if isinstance(release, PublishedSeries) else list(release)
    sizes = {len(part.values) for part in series}
    if len(sizes) != 1:
        raise InputError(f"release: expected series of the same records, got {len(sizes)} numbers of records.")
    if steps := [len(part.step_of) for part in series if len(part.step_of) != n_steps]:
        raise InputError(f"kwh: expected the {steps[0]} original steps that the release tells of, got {n_steps}.")
    return series


def blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of n rows, so that rows of this width stay within a bound of memory."""
    size = max(1, _BLOCK // width)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
