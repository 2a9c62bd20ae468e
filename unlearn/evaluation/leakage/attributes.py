"""Attribute inference with a release, beside the same inference without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from unlearn.checks import IntArray
from unlearn.data import DailyProfiles, HouseholdProfiles
from unlearn.data.meters.profiles import EnergyArray
from unlearn.errors import InputError
from unlearn.evaluation.leakage.options import LeakageOptions
from unlearn.evaluation.leakage.samples import Fold
from unlearn.privacy.attacks import Guesses, accuracy_of, gain_of, infer_attribute, majority_guesses
from unlearn.records import RecordTable


@dataclass(frozen=True, eq=False)
class _Known:
    """Profiles and values that an attacker learns from."""

    kwh: EnergyArray
    values: IntArray


def add_attributes(
    table: RecordTable, made: DailyProfiles, halves: Sequence[Fold], options: LeakageOptions, seed: int
) -> None:
    """Record for each attribute what an attacker guesses with the release, without it, and without any data.

    The attacker knows labelled reference households. A release that carries the attribute, as it carries the
    segment, is learnt from instead of them, from as many profiles. One that does not, such as of vehicles, is labelled
    by what the reference households taught, and learnt from together with them (self-training). `leak` is the balanced
    accuracy with the release less that without it. The same of other households is beside it: what the release helps
    to learn about everybody is no leak of those who took part.

    Raises:
        InputError: an attribute that the households do not have.
    """
    fold = halves[0]
    for attribute in options.attributes:
        sides = {"train": fold.members, "holdout": fold.others}
        values = [_values_of(side, attribute) for side in (fold.members, fold.others, fold.reference)]
        names = sorted(set(np.concatenate(values)))
        codes = [np.searchsorted(names, own) for own in values]
        columns = {"attack": "attribute", "attribute": attribute}
        if len(np.unique(codes[2])) < 2 or len(np.unique(codes[0])) < 2 or len(np.unique(codes[1])) < 2:
            note = "a side has households of one value only"
            table.add("leak", np.nan, "1", attacked="train", note=note, **columns)
            continue
        reference = _Known(fold.reference.kwh, codes[2])
        learnt = _with_release(made, reference, attribute, names, seed)
        for (attacked, side), truth in zip(sides.items(), codes, strict=False):
            own = {"attacked": attacked, **columns}
            guesses = {
                name: infer_attribute(known.kwh, known.values, side.kwh, side.household, truth, seed)
                for name, known in (("release", learnt), ("holdout", reference))
            }
            guesses["nothing"] = majority_guesses(reference.values, guesses["holdout"].truth)
            _add(table, guesses, own, seed)


def _add(table: RecordTable, guesses: dict[str, Guesses], columns: dict[str, Any], seed: int) -> None:
    n = len(guesses["release"].truth)
    for learnt_from, found in guesses.items():
        estimate = accuracy_of(found, seed)
        table.add("balanced_accuracy", unit="1", learnt_from=learnt_from, n=n, **estimate._asdict(), **columns)
    leak = gain_of(guesses["release"], guesses["holdout"], seed)
    table.add("leak", unit="1", n=n, **leak._asdict(), **columns)


def _with_release(made: DailyProfiles, reference: _Known, attribute: str, names: list[str], seed: int) -> _Known:
    """What an attacker with the release learns from."""
    n = min(len(made), len(reference.kwh))
    kwh = made.kwh[:n]
    if attribute == "segment":
        released = np.asarray(made.segments)[made.segment[:n]]
        # Segments of nobody who is attacked are no answers.
        kept = np.isin(released, names)
        found = _Known(kwh[kept], np.searchsorted(names, released[kept]))
        return found if len(np.unique(found.values)) > 1 else reference
    each = np.arange(n)
    labelled = infer_attribute(reference.kwh, reference.values, kwh, each, np.zeros(n, dtype=np.int64), seed).guess
    return _Known(np.concatenate([reference.kwh, kwh]), np.concatenate([reference.values, labelled]))


def _values_of(profiles: HouseholdProfiles, attribute: str) -> np.ndarray:
    """The attribute of each profile's household, as text."""
    if attribute not in profiles.households:
        raise InputError(
            f"leakage.attributes: expected columns of the households ({', '.join(map(str, profiles.households))}), "
            f"got {attribute!r}."
        )
    column: pd.Series = profiles.households[attribute]
    return column.astype(str).to_numpy(dtype=object)[profiles.household].astype(str)
