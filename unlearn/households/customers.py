"""`CustomerLoads`: loads that are sums of customers' meters and remember their parts, so that a customer can leave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    as_floats,
    require_choice,
    require_shape,
    short_repr,
)
from unlearn.data.dataset import LoadDataset
from unlearn.data.hours import Rows, rows_of
from unlearn.data.lags import Lags
from unlearn.data.removal import blanked_rows, load_places, remaining_loads
from unlearn.data.text_tables import listed
from unlearn.errors import DataError, InputError
from unlearn.households.meters import Meters
from unlearn.households.roster import (
    CLASS_MEAN,
    LEAST_MEMBERS,
    LEFT,
    PRESENT,
    RESCALED,
    WITHOUT,
    Roster,
    TooFewError,
    alive,
)

#: The customer leaves, and the physical load falls; or objects to the use of the data, and the load stays.
CASES = ("leaves", "objects")
#: What takes the place of an objector's readings.
REPLACEMENTS: dict[str | None, int] = {None: WITHOUT, "class_mean": CLASS_MEAN, "rescale": RESCALED}
#: Largest share of a group's energy that one customer may have by the 15/15 rule.
DOMINANT = 0.15


@short_repr
@dataclass(frozen=True, eq=False)
class CustomerLoads(LoadDataset):
    """Hourly loads that are sums of meters, `y_b = a_b Σ_{c in b} m_c`.

    It is a `LoadDataset`: whatever takes one takes this. Training rows hold what models may learn, from which whoever
    left or objects is missing; validation and test rows hold the physical load, which an objector is still part of.
    Build it with `customer_loads`.

    Attributes:
        meters: hourly readings by customer; their last N hours are the rows, earlier ones are history of lags.
        mw_per_kwh: the fixed factor a_b of each load, shape (B,).
        roster: who is in the loads when.

    Raises:
        DataError: whatever `LoadDataset` refuses, or loads that are not the sums of the meters.
    """

    meters: Meters = field(kw_only=True)
    mw_per_kwh: FloatArray = field(kw_only=True)
    roster: Roster = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shape(f"{self.name} mw_per_kwh", self.mw_per_kwh, (self.n_loads,))
        expected = _learnt_or_physical(self, *self._hours_mw(self.roster))
        off = ~np.isclose(self.load_mw, expected, rtol=1e-9, atol=1e-12)
        if off.any():
            row, b = (int(i) for i in np.argwhere(off)[0])
            raise DataError(
                f"{self.name}: expected loads that are the sums of their meters, {expected[row, b]:g} MW in row "
                f"{row} of {self.load_names[b]}, got {self.load_mw[row, b]:g}. Change the meters, or build a "
                "LoadDataset of the loads alone."
            )

    def _in_short(self) -> str:
        return f"{super()._in_short()}; {len(self.meters) - len(self.roster.gone)} customers"

    @property
    def customer_ids(self) -> tuple[str, ...]:
        """Names of the customers that are in the loads in some hour."""
        gone = set(self.roster.gone.tolist())
        return tuple(own for i, own in enumerate(self.meters.customer_ids) if i not in gone)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over loads, features, hours and split, and over the customers that are in the loads."""
        digest = hashlib.sha256(LoadDataset.fingerprint.func(self).encode())  # type: ignore[attr-defined]
        for line in sorted(self._described()):
            digest.update(line.encode())
        return digest.hexdigest()

    def _described(self) -> Iterator[str]:
        """A line per customer in the loads, and per load with blank hours; customers that are gone leave no trace."""
        gone = set(self.roster.gone.tolist())
        for i, own in enumerate(self.meters.customer_ids):
            if i in gone:
                continue
            readings = self.roster.digests.get(i, self.meters.digests[i])
            place = self.load_names[self.roster.load_of[i]], self.meters.segments[self.meters.segment[i]]
            yield repr((own, *place, readings))
        for name, hours in zip(self.load_names, self.roster.blank.T, strict=True):
            if hours.any():
                yield repr((name, "blank", hashlib.sha256(hours.tobytes()).hexdigest()))

    @property
    def n_history(self) -> int:
        """Hours of the meters before the first row."""
        return len(self.meters.hours) - len(self.timestamps)

    def _hours_mw(self, roster: Roster) -> tuple[FloatArray, FloatArray]:
        """What models may learn, and the physical load, at all hours of the meters, each (H, B)."""
        return roster.known_kwh() * self.mw_per_kwh, roster.physical_kwh * self.mw_per_kwh

    def physical_mw(self) -> FloatArray:
        """The physical load in each row, shape (N, B): all that have not left."""
        return self._hours_mw(self.roster)[1][self.n_history :]

    def scaled_to(self, nominal_mw: ArrayLike, over: str = "train", base_mva: float | None = None) -> CustomerLoads:
        """Set the factors a_b that put each load's maximum at its bus's nominal load; see `LoadDataset.scaled_to`."""
        scaled = self._plain().scaled_to(nominal_mw, over, base_mva)
        seen_kwh = self.roster.known_kwh()[self.n_history :]
        seen_kwh = seen_kwh if over == "all" else seen_kwh[self.split.train]
        # Not from the factors before: their last bits would tell of whom they were fitted to.
        factor = as_floats("nominal_mw", nominal_mw) / seen_kwh.max(axis=0)
        fitted = {own.name: own for own in scaled.fitted}  # one scale, the last
        return replace(self._with(self.roster, factor), base_mva=scaled.base_mva, fitted=tuple(fitted.values()))

    def _plain(self) -> LoadDataset:
        """What models may learn, in all rows, as a data set that knows no customers."""
        known, start = self._hours_mw(self.roster)[0], self.n_history
        own = {one.name: getattr(self, one.name) for one in fields(LoadDataset)}
        return LoadDataset(**own | {"load_mw": known[start:], "history_mw": known[:start]})

    @property
    def _load_with_history(self) -> FloatArray:
        """Lags hold what models may learn, in validation and test rows as well."""
        return self._hours_mw(self.roster)[0]

    def with_lags(self, lags: Lags | Sequence[int]) -> CustomerLoads:
        """See `LoadDataset.with_lags`; the hours that are dropped stay in the customers' lives."""
        made = self._plain().with_lags(lags)
        load = _learnt_or_physical(made, *self._hours_mw(self.roster))
        return summed(made, load, meters=self.meters, mw_per_kwh=self.mw_per_kwh, roster=self.roster)

    def with_loads(self, load_mw: FloatArray, history_mw: FloatArray | None = None) -> LoadDataset:
        """See `LoadDataset.with_loads`; other loads than the sums of the meters are a data set without customers."""
        return self._plain().with_loads(load_mw, history_mw)

    def _with(self, roster: Roster, mw_per_kwh: FloatArray | None = None) -> CustomerLoads:
        """The same data set with another roster or other factors: loads and lags follow from them."""
        factor = self.mw_per_kwh if mw_per_kwh is None else mw_per_kwh
        known, physical = roster.known_kwh() * factor, roster.physical_kwh * factor
        return replace(
            self,
            features=self._features_of(known),
            load_mw=_learnt_or_physical(self, known, physical),
            history_mw=known[: self.n_history],
            mw_per_kwh=factor,
            roster=roster,
        )

    def without(
        self,
        customers: Iterable[str],
        case: str = CASES[0],
        hours: Rows | None = None,
        replacement: str | None = None,
    ) -> CustomerLoads:
        """The data set that a model is fitted on once customers are forgotten.

        Args:
            customers: names.
            case: "leaves": the physical load falls, everywhere; "objects": only what models may learn changes.
            hours: rows of the data set in any form that `forget` takes; None is each meter's whole life.
            replacement: with "objects", what fills the gap: None leaves it; "class_mean" takes the mean of the members
                of the customer's class that remain, at all loads; "rescale" scales the load up by count.

        Raises:
            InputError: unknown or repeated customers, hours outside of a meter's life, customers that are gone already,
                a load that would have no customer left in some hour, a class below 15 members whose mean is asked for.
        """
        require_choice("case", case, CASES)
        if replacement is not None:
            require_choice("replacement", replacement, [own for own in REPLACEMENTS if own])
        if case == "leaves" and replacement is not None:
            raise InputError(
                f"replacement: expected None where a customer leaves, for the load falls as well, got {replacement!r}. "
                'A customer who stays is case="objects".'
            )
        where = self.meters.positions("customers", customers)
        state = LEFT if case == "leaves" else REPLACEMENTS[replacement]
        asked = self._asked(where, hours)
        states, lives = self.roster.states_of(self.meters, where), alive(self.meters, where)
        moved = lives & asked & (states != state) & (states != LEFT) & self.roster.counted(where)
        if len(idle := np.flatnonzero(~moved.any(axis=1))):
            again = listed([self.meters.customer_ids[where[i]] for i in idle])
            raise InputError(
                f"customers: expected customers that are still in the loads, got {len(idle)} of {len(where)} that were "
                f"forgotten before in all of these hours: {again}. Leave them out."
            )
        roster = self.roster.changed(self.meters, where, asked, state)
        self._refuse_emptied(roster)
        with _enough_members(self.meters):
            return self._with(roster)

    def _asked(self, where: IntArray, hours: Rows | None) -> BoolArray:
        """Which hours of the meters are meant, shape (H,); refuses some outside of a meter's life."""
        every = self.meters.hours
        mask = np.ones(len(every), dtype=bool)
        if hours is None:
            return mask
        by_time = isinstance(hours, pd.DatetimeIndex) or (isinstance(hours, tuple) and len(hours) == 2)
        rows = rows_of("hours", hours, every if by_time else self.timestamps) + (0 if by_time else self.n_history)
        if not len(rows):
            raise InputError("hours: expected at least one, got none; nothing to forget. None is the whole life.")
        mask[:] = False
        mask[rows] = True
        outside = mask & ~alive(self.meters, where)
        if len(who := np.flatnonzero(outside.any(axis=1))):
            i = int(where[who[0]])
            first, last = every[self.meters.first[i]], every[self.meters.end[i] - 1]
            raise InputError(
                f"hours: expected hours within each meter's life, got {int(outside[who[0]].sum())} outside that of "
                f"{self.meters.customer_ids[i]}, which runs from {first} to {last}. Narrow the range, or pass None for "
                "the whole life."
            )
        return mask

    def _refuse_emptied(self, roster: Roster) -> None:
        emptied = (roster.members.sum(axis=2) == 0) & (self.roster.members.sum(axis=2) > 0)
        if emptied.any():
            hour, b = (int(i) for i in np.argwhere(emptied)[0])
            raise InputError(
                f"customers: these are all that is left of {self.load_names[b]} ({int(emptied[:, b].sum())} hours, "
                f"first {self.meters.hours[hour]}). Keep some of them, or withdraw the load: withdraw_loads(model, "
                f"dataset, [{self.load_names[b]!r}])."
            )

    def readings_kwh(self) -> Iterator[tuple[IntArray, FloatArray]]:
        """Positions of some customers and their readings, 0 where they are not in the loads, (k, H), until all came."""
        for where, kwh in self.meters.blocks("customers"):
            energy = kwh.astype(np.float64)
            for i, own in enumerate(where.tolist()):
                if (states := self.roster.states.get(own)) is not None:
                    energy[i, states != PRESENT] = 0.0
            yield where, energy

    @cached_property
    def energy_kwh(self) -> FloatArray:
        """Energy of each customer in the hours in which it is in the loads, shape (C,)."""
        energy = np.empty(len(self.meters))
        for where, kwh in self.readings_kwh():
            energy[where] = kwh.sum(axis=1)
        return energy

    def groups(self) -> pd.DataFrame:
        """Sizes of loads and classes, and whether they meet the 15/15 rule.

        Returns:
            A row per load and per class: `kind` ("load" or "class"), `group`, `customers`, `largest_share` (of the
            group's energy, of its largest customer), `meets_15_15` (at least 15 customers, none above 15 %).
        """
        there = np.ones(len(self.meters), dtype=bool)
        there[self.roster.gone] = False
        rows = []
        for kind, label, names in (
            ("load", self.roster.load_of, self.load_names),
            ("class", self.meters.segment, self.meters.segments),
        ):
            for i, name in enumerate(names):
                own = self.energy_kwh[there & (label == i)]
                largest = float(own.max() / own.sum()) if len(own) and own.sum() else float(len(own) > 0)
                meets = len(own) >= LEAST_MEMBERS and largest <= DOMINANT
                rows.append((kind, name, len(own), largest, meets))
        return pd.DataFrame(rows, columns=["kind", "group", "customers", "largest_share", "meets_15_15"])

    def purged(self, path: str | Path | None = None) -> CustomerLoads:
        """The same data set without the readings of whoever is gone, in a file of its own or in memory.

        A customer that was forgotten is in no sum any more, but its readings stay where the meters lie until those are
        written anew and the old ones destroyed. An objector that was purged cannot leave later on: nobody knows its
        part of the physical load.
        """
        kept = np.setdiff1d(np.arange(len(self.meters)), self.roster.gone)
        roster = self.roster.of_customers(kept)
        meters = self._saved(self._taken(kept), path, {i: own != PRESENT for i, own in roster.states.items()})
        return replace(self, meters=meters, roster=roster)

    def _taken(self, kept: IntArray, classes: IntArray | None = None) -> Meters:
        """Some of the meters, in the classes that are given, or all: one without members keeps its place in sums."""
        places = np.arange(len(self.meters.segments)) if classes is None else classes
        segments = tuple(self.meters.segments[g] for g in places)
        segment = np.searchsorted(places, self.meters.segment[kept])
        return replace(self.meters.take(kept), segment=segment, segments=segments)

    @staticmethod
    def _saved(meters: Meters, path: str | Path | None, hidden: dict[int, BoolArray]) -> Meters:
        """Meters in a file of their own or in memory; whose readings stay as they are keeps the hash of them."""
        from unlearn.households.io.meters import save_meters

        saved = save_meters(meters, path, hidden)
        digests = [
            new if i in hidden else old for i, (old, new) in enumerate(zip(meters.digests, saved.digests, strict=True))
        ]
        return replace(saved, digests=tuple(digests))

    def without_loads(self, names: Sequence[str]) -> CustomerLoads:
        """The data set as if some loads and their customers had never been there.

        What fills the gap of an objector with "class_mean" is taken anew, from the members of the class that remain:
        those of the loads that go were among them. Readings stay where the meters lie until the data set is `purged`.

        Raises:
            InputError: see `LoadDataset.without_loads`; a class that would have below 15 members to take a mean of.
        """
        loads = remaining_loads(names, self.load_names)
        at = np.isin(self.roster.load_of, loads)
        needed = self.roster.filled[:, loads].any(axis=(0, 1))
        classes = np.union1d(self.meters.segment[at], np.flatnonzero(needed))
        roster, kept = self.roster.of_loads(loads, classes)
        factor, meters = self.mw_per_kwh[loads], self._taken(kept, classes)
        return self._filled(self._plain().without_loads(names), roster, meters, factor)

    def blanked(self, rows: Rows, loads: Sequence[str] | None = None, path: str | Path | None = None) -> CustomerLoads:
        """The data set in which readings of some hours are 0, and so the loads, also where they stand as lags.

        See `LoadDataset.blanked`. In these hours nobody is in the loads any more, neither member nor objector: what
        fills gaps of objectors at other loads in the same hours is taken from the members that remain; where that
        changes a load which a model still knows, fit it anew: `model.fitted_anew(dataset)`.

        Args:
            rows: in any form that `forget` takes.
            loads: names of the loads whose customers are meant; None means all.
            path: a `.parquet` file for the readings that are left; None keeps them in memory.

        Raises:
            InputError: see `LoadDataset.blanked`; nothing left of any customer; a class below 15 members.
        """
        plain = self._plain().blanked(rows, loads)
        places = load_places(self.load_names if loads is None else loads, self.load_names)
        hours = np.zeros(len(self.meters.hours), dtype=bool)
        hours[blanked_rows(rows, self.timestamps) + self.n_history] = True
        hidden = {int(i): hours for i in np.flatnonzero(np.isin(self.roster.load_of, places))}
        meters = self._saved(self.meters, path, hidden)
        return self._filled(plain, self.roster.blanked(meters, hours, places), meters, self.mw_per_kwh)

    def _filled(self, plain: LoadDataset, roster: Roster, meters: Meters, factor: FloatArray) -> CustomerLoads:
        """Some of the loads, or other hours of them, with the loads and lags that follow from a roster."""
        if len(roster.gone) == len(meters):
            raise InputError(f"{self.name}: no customer would be in the loads any more. Keep some hours and loads.")
        with _enough_members(meters):
            known = roster.known_kwh() * factor
        start = self.n_history
        plain = plain.with_loads(known[start:], known[:start].copy())
        load = _learnt_or_physical(plain, known, roster.physical_kwh * factor)
        return summed(plain, load, meters=meters, mw_per_kwh=factor, roster=roster)


@contextmanager
def _enough_members(meters: Meters) -> Iterator[None]:
    """Refuse means of a class that few are left of."""
    try:
        yield
    except TooFewError as error:
        raise InputError(
            f"replacement: expected at least {LEAST_MEMBERS} members of class {meters.segments[error.segment]} to "
            f"take the mean of, got {error.members} at {meters.hours[error.hour]}. Take "
            'replacement="rescale" or None, for earlier objectors of that class, too.'
        ) from None


def summed(
    dataset: LoadDataset, load_mw: FloatArray, *, meters: Meters, mw_per_kwh: FloatArray, roster: Roster
) -> CustomerLoads:
    """A data set with loads that are the sums of meters."""
    base = {own.name: getattr(dataset, own.name) for own in fields(LoadDataset)} | {"load_mw": load_mw}
    return CustomerLoads(**base, meters=meters, mw_per_kwh=mw_per_kwh, roster=roster)


def _learnt_or_physical(dataset: LoadDataset, known: FloatArray, physical: FloatArray) -> FloatArray:
    """Loads of the rows, shape (N, B): what models may learn in training rows, the physical load in the others."""
    learnt = np.zeros(len(dataset.timestamps), dtype=bool)
    learnt[dataset.split.train] = True
    return np.where(learnt[:, None], known[-len(learnt) :], physical[-len(learnt) :])
