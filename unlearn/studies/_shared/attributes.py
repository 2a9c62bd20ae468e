"""Samples that are attacked, releases whose leakage is known, and attribute inference with and without a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from unlearn.attacks import (
    Classifier,
    Guesses,
    Trial,
    accuracy_of,
    gain_of,
    infer_attribute,
    leak_of,
    majority_guesses,
    make_classifier,
)
from unlearn.checks import IntArray, short_repr
from unlearn.errors import InputError, MismatchError
from unlearn.generators.baselines import Resampled
from unlearn.households.by_household import HouseholdProfiles, require_other_households, split_households
from unlearn.households.profiles import DailyProfiles, EnergyArray
from unlearn.records import RecordTable
from unlearn.studies._shared.options import LeakageOptions

#: Households of the holdout, at least: two that are attacked and two that are reference, in turn.
MIN_HOLDOUT = 4


@short_repr
@dataclass(frozen=True, eq=False)
class Fold:
    """Profiles of one half of an attack: members, others, and the reference of the attacker; households disjoint."""

    members: HouseholdProfiles
    others: HouseholdProfiles
    reference: HouseholdProfiles

    @property
    def sides(self) -> tuple[HouseholdProfiles, HouseholdProfiles, HouseholdProfiles]:
        return self.members, self.others, self.reference


def require_comparable(release: DailyProfiles, train: HouseholdProfiles, holdout: HouseholdProfiles) -> None:
    """Refuse what cannot be attacked, before any work.

    Raises:
        InputError: too few households, or no released profiles.
        MismatchError: shared households, or other steps or segments.
    """
    require_other_households("leakage", train, holdout)
    for name, side, need in (("train", train, 2), ("holdout", holdout, MIN_HOLDOUT)):
        present = len(np.unique(side.household))
        if present < need:
            raise InputError(f"leakage: expected profiles of at least {need} households in {name}, got {present}.")
    if len(release) < 2:
        raise InputError(f"leakage: expected a release of at least 2 profiles, got {len(release)} in {release.name}.")
    for side in (train, holdout):
        if side.n_steps != release.n_steps:
            raise MismatchError(
                f"leakage: expected the {release.n_steps} steps of {release.name} in {side.name}, got {side.n_steps}. "
                "Bring all to hours with to_hourly."
            )
        if side.segments != release.segments:
            raise MismatchError(
                f"leakage: expected the segments {release.segments} of {release.name} in {side.name}, got "
                f"{side.segments}."
            )


def folds(train: HouseholdProfiles, holdout: HouseholdProfiles, n: int, seed: int) -> list[Fold]:
    """Two folds: each half of the holdout is reference once and attacked once, with a half of the members.

    Every record is attacked once. The reference of a fold are never the households attacked in it, and members and
    others are treated alike, so that a release that knows neither gives an AUC of 0.5 on average. Both folds together
    have n profiles of each side.
    """
    random = np.random.default_rng(seed)
    members, others = _halves(train, seed), _halves(holdout, seed + 1)
    found = []
    for i in range(2):
        parts = (members[i], others[1 - i], others[i])
        found.append(Fold(*(part.take(some_days(part, n // 2, random)) for part in parts)))
    return found


def some_days(profiles: HouseholdProfiles, n: int, random: np.random.Generator) -> IntArray:
    """About n rows: as many random days of each household as of the others, where it has them; at least one."""
    present = len(np.unique(profiles.household))
    order = np.lexsort((random.random(len(profiles)), profiles.household))
    _, start, count = np.unique(profiles.household[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(start, count)
    return np.sort(order[place < max(1, n // present)])


def same_size(
    train: HouseholdProfiles, holdout: HouseholdProfiles, n: int, seed: int
) -> tuple[HouseholdProfiles, HouseholdProfiles]:
    """As many households and about as many days of each on both sides, at most n profiles a side."""
    random = np.random.default_rng([seed, 3])
    present = [np.unique(side.household) for side in (train, holdout)]
    n_each = min(map(len, present))
    chosen = [
        side.of_households(random.permutation(who)[:n_each])
        for side, who in zip((train, holdout), present, strict=True)
    ]
    size = min(n, *map(len, chosen))
    first, second = (side.take(some_days(side, size, random)) for side in chosen)
    return first, second


def _halves(profiles: HouseholdProfiles, seed: int) -> tuple[HouseholdProfiles, HouseholdProfiles]:
    """Halves of the households that have days; of equal segments, so that no half is the other's opposite."""
    return split_households(profiles.of_households(np.unique(profiles.household)), 0.5, seed)


#: Names of the two releases, which no generator may bear.
COPIED, OTHERS = "copied training days", "days of third households"
#: Released copies of each training day on average: e⁻⁸ of the days are missed.
_COPIES = 8


def known_releases(
    train: HouseholdProfiles, third: HouseholdProfiles, options: LeakageOptions, seed: int = 0
) -> list[tuple[DailyProfiles, HouseholdProfiles]]:
    """Resample training days, and days of third households that are neither trained on nor held out.

    The copies are of so few training days, some of every household, that the release holds nearly each of them:
    membership is that of the days that were drawn from. Releases have `options.max_released` profiles.

    Returns:
        Each release with the training profiles that it is to be attacked for.

    Raises:
        InputError: `max_released` too small for a training day.
        MismatchError: a household on both sides.
    """
    require_other_households("calibration", train, third)
    n = options.max_released
    if n < 2 * _COPIES:
        raise InputError(f"leakage.max_released: expected at least {2 * _COPIES} for calibration, got {n}.")
    days = some_days(train, min(options.max_profiles, n // _COPIES), np.random.default_rng([seed, 5]))
    # At least a day of each household was taken, whatever was asked for.
    copied = train.take(days)
    return [
        (Resampled(COPIED).release(copied, max(n, _COPIES * len(copied)), seed), copied),
        (Resampled(OTHERS).release(third, n, seed), train),
    ]


@short_repr
@dataclass(frozen=True, eq=False)
class _Known:
    """Profiles and values that an attacker learns from, or that are attacked, with their households."""

    kwh: EnergyArray
    values: IntArray
    household: IntArray

    def redrawn(self, random: np.random.Generator) -> _Known:
        """As many households of each value, drawn with replacement; each with all its profiles."""
        who, first = np.unique(self.household, return_index=True)
        value = self.values[first]
        drawn = np.concatenate([random.choice(own, len(own)) for own in (who[value == v] for v in np.unique(value))])
        times = np.bincount(drawn, minlength=int(who.max()) + 1)[self.household]
        rows = np.repeat(np.arange(len(self.kwh)), times)
        return _Known(self.kwh[rows], self.values[rows], self.household[rows])


#: Guesses with the release and without it, by side (train, holdout).
_Found = dict[str, Trial]


def add_attributes(
    table: RecordTable, made: DailyProfiles, halves: Sequence[Fold], options: LeakageOptions, seed: int
) -> None:
    """Record for each attribute what an attacker guesses with the release, without it, and without any data.

    Every household is attacked: half of them with one half of the holdout as labelled reference, the others with the
    other. A release that carries the attribute, as the households' segment, is learnt from instead of the reference,
    from as many profiles (`label` is released). One that does not is labelled by what the reference taught, and learnt
    from together with it (self-training; `label` is guessed).

    `gain` is the balanced accuracy with the release less that without it, for training households and for others.
    `leak` is the gain of training households less that of others: what the release helps to learn about everybody is
    no leak of those who took part. Intervals of `gain` include the draw of attacked and of reference households, not
    of those whom the release was learnt from. That of `leak` needs the attacked ones only: a release of strangers
    gains as much about either side on average, whoever the strangers and the reference are.

    Raises:
        InputError: an attribute that the households do not have.
    """
    for attribute in options.attributes:
        sides = [side for fold in halves for side in fold.sides]
        carried = all(np.array_equal(_values_of(side, attribute), _values_of(side, "segment")) for side in sides)
        columns = {"attack": "attribute", "attribute": attribute, "label": "released" if carried else "guessed"}
        names = _frequent(table, halves, attribute, options.min_households, columns)
        if len(names) < 2:
            note = f"fewer than two values that at least {options.min_households} households of every side have"
            table.add("leak", np.nan, "1", attacked="train", note=note, **columns)
            continue
        for classifier in map(make_classifier, options.classifiers):
            found = [
                _attack_fold(made, fold, attribute, names, classifier, carried, options.redraws, seed)
                for fold in halves
            ]
            _add(table, [_pooled(parts) for parts in zip(*found, strict=True)], classifier.name, columns, seed)


def _frequent(
    table: RecordTable, halves: Sequence[Fold], attribute: str, least: int, columns: dict[str, Any]
) -> list[str]:
    """Values that enough households of every side of every fold have; the others are recorded as left out."""
    counts = [_counts(side, attribute) for fold in halves for side in fold.sides]
    every = pd.concat(counts, axis=1).fillna(0).min(axis=1)
    kept = sorted(map(str, every.index[every >= least]))
    rare = sorted(map(str, set(every.index) - set(kept)))
    if rare:
        note = f"{', '.join(rare)}: fewer than {least} households of a side"
        members = sum(int(_counts(fold.members, attribute).reindex(rare).fillna(0).sum()) for fold in halves)
        table.add("left_out_households", members, "1", attacked="train", note=note, **columns)
    return kept


def _counts(side: HouseholdProfiles, attribute: str) -> pd.Series:
    present = np.unique(side.household, return_index=True)[1]
    return pd.Series(_values_of(side, attribute)[present]).value_counts()


def _attack_fold(
    made: DailyProfiles,
    fold: Fold,
    attribute: str,
    names: list[str],
    classifier: Classifier,
    carried: bool,
    redraws: int,
    seed: int,
) -> list[_Found]:
    """Guesses with the reference as it is, then with redrawn ones."""
    members, others, reference = (_known(side, attribute, names) for side in fold.sides)
    random = np.random.default_rng([seed, 7])
    n = len(reference.kwh)
    released = _released(made, names, n) if carried else None

    def guesses(known: _Known) -> dict[str, Guesses]:
        return {
            side: infer_attribute(classifier, known.kwh, known.values, own.kwh, own.household, own.values, seed)
            for side, own in (("train", members), ("holdout", others))
        }

    fixed = guesses(released) if released is not None else None
    found = []
    for known in (reference, *(reference.redrawn(random) for _ in range(redraws))):
        without = guesses(known)
        helped = fixed or guesses(_self_trained(made, known, n, classifier, seed))
        found.append({side: Trial(helped[side], without[side]) for side in without})
    return found


def _pooled(parts: Sequence[_Found]) -> _Found:
    def joined(found: Sequence[Guesses]) -> Guesses:
        return Guesses(np.concatenate([own.truth for own in found]), np.concatenate([own.guess for own in found]))

    return {side: Trial(*map(joined, zip(*(part[side] for part in parts), strict=True))) for side in parts[0]}


def _add(table: RecordTable, found: list[_Found], classifier: str, columns: dict[str, Any], seed: int) -> None:
    columns = {**columns, "classifier": classifier}
    first, redrawn = found[0], found[1:]
    for side, trial in first.items():
        truth = trial.release.truth
        column = {**columns, "attacked": side, "n": len(truth)}
        for place, name in enumerate(("release", "holdout")):
            estimate = accuracy_of(trial[place], seed, [each[side][place] for each in redrawn])
            table.add("balanced_accuracy", unit="1", learnt_from=name, **estimate._asdict(), **column)
        nothing = accuracy_of(majority_guesses(truth, truth), seed)
        table.add("balanced_accuracy", unit="1", learnt_from="nothing", **nothing._asdict(), **column)
        gain = gain_of(trial, seed, [each[side] for each in redrawn])
        table.add("gain", unit="1", **gain._asdict(), **column)
    leak = leak_of(first["train"], first["holdout"], seed)
    n, n_others = (len(first[side].release.truth) for side in ("train", "holdout"))
    table.add("leak", unit="1", attacked="train", n=n, n_others=n_others, **leak._asdict(), **columns)


def _known(side: HouseholdProfiles, attribute: str, names: list[str]) -> _Known:
    value = _values_of(side, attribute)
    kept = np.isin(value, names)
    return _Known(side.kwh[kept], np.searchsorted(names, value[kept]), side.household[kept])


def _released(made: DailyProfiles, names: list[str], n: int) -> _Known | None:
    """Up to n released profiles with their labels; None where fewer than two values were released."""
    released = np.asarray(made.segments)[made.segment].astype(str)
    # Values of nobody who is attacked are no answers.
    rows = np.flatnonzero(np.isin(released, names))[:n]
    values = np.searchsorted(names, released[rows])
    return _Known(made.kwh[rows], values, rows) if len(np.unique(values)) > 1 else None


def _self_trained(made: DailyProfiles, reference: _Known, n: int, classifier: Classifier, seed: int) -> _Known:
    """The reference, and as many released profiles that it labels."""
    kwh = made.kwh[:n]
    each = np.arange(len(kwh))
    labelled = infer_attribute(
        classifier, reference.kwh, reference.values, kwh, each, np.zeros(len(kwh), dtype=np.int64), seed
    ).guess
    return _Known(
        np.concatenate([reference.kwh, kwh]),
        np.concatenate([reference.values, labelled]),
        np.concatenate([reference.household, each]),
    )


def _values_of(profiles: HouseholdProfiles, attribute: str) -> np.ndarray:
    if attribute not in profiles.households:
        raise InputError(
            f"leakage.attributes: expected columns of the households ({', '.join(map(str, profiles.households))}), "
            f"got {attribute!r}."
        )
    column: pd.Series = profiles.households[attribute]
    return column.astype(str).to_numpy(dtype=object)[profiles.household].astype(str)
