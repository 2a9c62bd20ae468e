"""Attacks on outlier households: a generator is fitted with some of them, and others stand beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.attacks import (
    Discriminator,
    Distance,
    compromised_shares,
    draw_outliers,
    household_scores,
    inject_outliers,
    measure_attack,
    membership_scores,
    relative_radius,
)
from unlearn.errors import InputError
from unlearn.households.by_household import HouseholdProfiles, require_other_households
from unlearn.households.profiles import DailyProfiles
from unlearn.records import RecordTable
from unlearn.studies._shared.leakage.options import LeakageOptions

#: A generator: training households and seed to a release.
Fit = Callable[[HouseholdProfiles, int], DailyProfiles]

#: Attacks on outliers.
OUTLIER_ATTACKS = (Distance(), Discriminator())

#: Between the seeds of one study and the next.
_FITS_APART = 1009


def measure_outliers(
    fit: Fit,
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: LeakageOptions | None = None,
    seed: int = 0,
    labels: Mapping[str, object] | None = None,
) -> RecordTable:
    """Fit a generator with outlier households, attack its release, and do so again with other outliers.

    Args:
        fit: takes training households and a seed, and gives a release; called `options.fits` times.
        train: training households, without outliers.
        holdout: other households, from which the attacker learns what real ones look like.
        options: how many outliers and fits.
        seed: of outliers and fits.
        labels: further columns of every record.

    Returns:
        Records of `score_outliers` of every fit, then those of `pool_outliers`.

    Raises:
        InputError: whatever the generator refuses, or outliers that cannot be made.
        MismatchError: a household on both sides.
    """
    options = options or LeakageOptions()
    tables = [
        score_outliers(fit, train, holdout, options, seed, repeat, labels).to_frame()
        for repeat in tqdm(range(options.fits), desc="fits with outliers", leave=False)
    ]
    return pool_outliers(pd.concat(tables, ignore_index=True), options, seed)


def score_outliers(
    fit: Fit,
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: LeakageOptions,
    seed: int,
    repeat: int,
    labels: Mapping[str, object] | None = None,
) -> RecordTable:
    """Fit a generator with outliers once, and score every outlier household.

    Args:
        fit: takes training households and a seed, and gives a release.
        train: training households, without outliers.
        holdout: other households.
        options: how outliers are made.
        seed: of the study.
        repeat: which of its fits; other fits have other outliers.
        labels: further columns of every record.

    Returns:
        A `score` of each outlier household for each attack, higher means "trained on", and its `relative_radius`;
        columns `outliers` (seen, unseen, unseen_other), `household`, `attack`, `fit`, `generator`.

    Raises:
        InputError, MismatchError: as `measure_outliers`.
    """
    require_other_households("outliers", train, holdout)
    own = seed * _FITS_APART + repeat
    sets = draw_outliers(train, options.outliers, own)
    release = fit(inject_outliers(train, sets.seen), own)
    random = np.random.default_rng([own, 1])
    known = holdout.kwh[random.permutation(len(holdout))[: options.max_profiles]]
    # All that was released: an outlier may be behind a few profiles only.
    common: dict[str, Any] = {"experiment": "leakage", "data": train.name, "seed": seed, "generator": release.name}
    common |= {"unit_attacked": "outlier household", "fit": repeat}
    table = RecordTable(**{**common, **(labels or {})})
    for name, outliers in sets.items().items():
        ids = outliers.households["household_id"].to_numpy()
        radius = relative_radius(release.kwh, outliers.kwh, outliers.household)
        for who, value in zip(ids, radius, strict=True):
            table.add("relative_radius", value, "1", outliers=name, household=who)
    _add_scores(table, release, sets.items(), known, own)
    return table


def _add_scores(
    table: RecordTable, release: DailyProfiles, sets: dict[str, HouseholdProfiles], known: np.ndarray, seed: int
) -> None:
    days = np.concatenate([outliers.kwh for outliers in sets.values()])
    ids = np.concatenate([o.households["household_id"].to_numpy(dtype=object)[o.household] for o in sets.values()])
    kind = np.repeat(list(sets), [len(outliers) for outliers in sets.values()])
    of_household = dict(zip(ids, kind, strict=True))
    for attack in OUTLIER_ATTACKS:
        scores, names = household_scores(membership_scores(attack, release.kwh, days, known, seed), ids.astype(str))
        for who, value in zip(names, scores, strict=True):
            table.add("score", value, "1", attack=attack.name, outliers=of_household[who], household=who)


def pool_outliers(scores: pd.DataFrame, options: LeakageOptions, seed: int = 0) -> RecordTable:
    """Say how well the seen outliers of all fits are told from unseen ones, with intervals over households.

    Scores of one fit are no measure of those of another: an outlier counts by its rank among those of its fit.

    Args:
        scores: records of `score_outliers` of one generator, any number of fits and seeds.
        options: the ratios of the curve of compromised outliers.
        seed: of bootstrap and halves.

    Returns:
        The records given, then `auc`, `advantage`, `precision` and `recall` of seen against unseen and unseen_other
        (columns `attack`, `against`, `low`, `high`, `n`), and `compromised`, the share of outliers with a released
        profile within a ratio of their norm (column `ratio`).

    Raises:
        InputError: records of several generators, or none.
    """
    if "outliers" not in scores or scores["generator"].nunique() != 1:
        raise InputError("outliers: expected records of score_outliers of one generator.")
    first = scores.iloc[0]
    table = RecordTable(**{name: first[name] for name in ("experiment", "data", "seed", "generator", "unit_attacked")})
    for row in scores.to_dict("records"):
        table.add(**{str(name): value for name, value in row.items() if not pd.isna(value)})
    found = scores[scores["metric"] == "score"]
    for attack, own in found.groupby("attack", sort=False):
        for against in ("unseen", "unseen_other"):
            seen, other = _ranks(own, against)
            outcome = measure_attack(seen, other, unit="outlier household", fprs=(), seed=seed)
            for metric, estimate in outcome.metrics().items():
                n = {"n": outcome.n_members, "n_others": outcome.n_others}
                table.add(metric, unit="1", attack=attack, against=against, **estimate._asdict(), **n)
    radius = scores[scores["metric"] == "relative_radius"]
    for name, own in radius.groupby("outliers", sort=False):
        shares = compromised_shares(own["value"].to_numpy(), options.ratios)
        for ratio, share in zip(options.ratios, shares, strict=True):
            table.add("compromised", unit="1", outliers=name, ratio=ratio, **share._asdict(), n=len(own))
    return table


def _ranks(scores: pd.DataFrame, against: str) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each household of two sets among those of its fit, as a share: seen, and the others."""
    both = scores[scores["outliers"].isin(["seen", against])]
    rank = both.groupby(["seed", "fit"])["value"].rank(pct=True)
    seen = both["outliers"] == "seen"
    return rank[seen].to_numpy(), rank[~seen].to_numpy()
