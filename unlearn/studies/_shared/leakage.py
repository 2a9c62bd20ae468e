"""Leakage of one release: membership, reconstruction, copies and attributes, as records.

Attacks on outlier households: a generator is fitted with some of them, and others stand beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.attacks import (
    Attack,
    Discriminator,
    Distance,
    check_copies,
    closeness_test,
    compromised_shares,
    draw_outliers,
    exact_copies,
    household_scores,
    inject_outliers,
    measure_attack,
    membership_scores,
    most_similar,
    relative_radius,
    require_attacks,
)
from unlearn.errors import InputError
from unlearn.households.by_household import HouseholdProfiles, require_other_households
from unlearn.households.profiles import DailyProfiles
from unlearn.records import RecordTable
from unlearn.studies._shared.attributes import Fold, add_attributes, folds, require_comparable, same_size
from unlearn.studies._shared.options import LeakageOptions


def measure_leakage(
    release: DailyProfiles,
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: LeakageOptions | None = None,
    seed: int = 0,
    labels: Mapping[str, object] | None = None,
) -> RecordTable:
    """Attack a release and record how well each attack does.

    Args:
        release: what a generator released, with its name.
        train: exactly the profiles that it was learnt from.
        holdout: the same days of other households, drawn at random from the same ones as the training households.
        options: how to measure; None takes the defaults.
        seed: of samples, classifiers and bootstraps.
        labels: further columns of every record.

    Returns:
        Records with the columns `generator`, `attack`, `unit_attacked` (profile or household), `low`, `high`, `n`,
        `n_others`, `draw`, `attribute`, `learnt_from`, `attacked`, `note`. Metrics of membership: those of
        `measure_attack`, NaN with a note where others are too few for a false positive rate. Of reconstruction, for
        each draw: `ks_statistic`, `ks_p_value`, `permutation_p_value`, `closer`, `median_train_kwh`,
        `median_holdout_kwh`. Of copies: `exact_copies`, `near_copies`, `near_copies_in_time` of train and holdout
        (column `against`), and `passed`, 1 or 0 with the reasons in `note`. Of attributes: `balanced_accuracy`,
        `gain`, `leak` and `left_out_households`, see `add_attributes`; columns `classifier` and `label`.

    Raises:
        InputError: too few households or profiles, or an attribute that households do not have.
        MismatchError: shared households, or other steps or segments.
    """
    options = options or LeakageOptions()
    table, made = _start(release, train, holdout, options, seed, labels)
    halves = folds(train, holdout, options.max_profiles, seed)
    with tqdm(total=len(options.attacks) + 3, desc=f"attacks on {release.name}", leave=False) as bar:
        for attack in require_attacks(options.attacks):
            add_membership(table, attack, made, halves, options, seed)
            bar.update()
        add_reconstruction(table, made, train, holdout, options, seed)
        bar.update()
        add_copies(table, release, made, train, holdout, options, seed)
        bar.update()
        add_attributes(table, made, halves, options, seed)
        bar.update()
    return table


def measure_attributes(
    release: DailyProfiles,
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: LeakageOptions | None = None,
    seed: int = 0,
    labels: Mapping[str, object] | None = None,
) -> RecordTable:
    """Record attribute inference alone, as `measure_leakage` does.

    A generator that was given an attribute as its segment (`with_attribute_as_segment`) releases it, which is the
    stronger test: nothing has to be guessed of the release.

    Args, returns and errors are those of `measure_leakage`.
    """
    options = options or LeakageOptions()
    table, made = _start(release, train, holdout, options, seed, labels)
    add_attributes(table, made, folds(train, holdout, options.max_profiles, seed), options, seed)
    return table


def _start(
    release: DailyProfiles,
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: LeakageOptions,
    seed: int,
    labels: Mapping[str, object] | None,
) -> tuple[RecordTable, DailyProfiles]:
    """An empty table with the common columns, and the released profiles that are looked at."""
    require_comparable(release, train, holdout)
    random = np.random.default_rng([seed, 1])
    made = release.take(random.permutation(len(release))[: options.max_released])
    common = {"experiment": "leakage", "data": train.name, "seed": seed, "generator": release.name}
    return RecordTable(**{**common, **(labels or {})}), made


def add_membership(
    table: RecordTable, attack: Attack, made: DailyProfiles, halves: Sequence[Fold], options: LeakageOptions, seed: int
) -> None:
    """Record one attack for profiles, resampled by household, and for households."""
    scores: list[list[np.ndarray]] = [[], []]
    for fold in halves:
        sides = (fold.members, fold.others)
        attacked = np.concatenate([side.kwh for side in sides])
        found = membership_scores(attack, made.kwh, attacked, fold.reference.kwh, seed)
        for own, part in zip(scores, np.split(found, [len(fold.members)]), strict=True):
            own.append(part)
    members, others = (np.concatenate(own) for own in scores)
    groups = [_names([fold.members for fold in halves]), _names([fold.others for fold in halves])]
    _add_outcome(table, attack.name, "profile", (members, others), groups, options, seed)
    if attack.score_of_a_copy is not None:
        columns = {"attack": attack.name, "unit_attacked": "profile", "n": len(members), "n_others": len(others)}
        _add_identical(table, float((others >= attack.score_of_a_copy).mean()), columns)
    whole = [household_scores(own, who, options.top)[0] for own, who in zip((members, others), groups, strict=True)]
    _add_outcome(table, attack.name, "household", (whole[0], whole[1]), None, options, seed)


def _add_identical(table: RecordTable, share: float, columns: dict[str, Any]) -> None:
    """Record which share of other records equals a released profile, such as days without energy.

    These have the highest score that there is, as copies of members have: a threshold that accuses fewer others
    accuses nobody, and the true positive rate at a lower false positive rate is 0 whatever was copied.
    """
    note = "identical to a released profile: at lower false positive rates nobody can be accused" if share else ""
    table.add("identical_others", share, "1", note=note, **columns)


def _names(parts: Sequence[HouseholdProfiles]) -> np.ndarray:
    return np.concatenate([part.households["household_id"].to_numpy()[part.household].astype(str) for part in parts])


def _add_outcome(
    table: RecordTable,
    attack: str,
    unit: str,
    scores: tuple[np.ndarray, np.ndarray],
    groups: list[np.ndarray] | None,
    options: LeakageOptions,
    seed: int,
) -> None:
    n_others = len(scores[1])
    possible = tuple(fpr for fpr in options.fprs if n_others * fpr >= 1 - 1e-9)
    own, other = groups or (None, None)
    outcome = measure_attack(*scores, unit=unit, member_group=own, other_group=other, fprs=possible, seed=seed)
    columns: dict[str, Any] = {"attack": attack, "unit_attacked": unit, "n": outcome.n_members, "n_others": n_others}
    for metric, estimate in outcome.metrics().items():
        table.add(metric, unit="1", **estimate._asdict(), **columns)
    for fpr in options.fprs:
        if fpr not in possible:
            note = f"{n_others} {unit}s that are no members are too few for a false positive rate of {fpr:g}"
            table.add(f"tpr_at_fpr_{fpr:g}", np.nan, "1", note=note, **columns)


def add_reconstruction(
    table: RecordTable,
    made: DailyProfiles,
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: LeakageOptions,
    seed: int,
) -> None:
    """Record whether the release is closer to training households, for several draws."""
    for draw in range(options.draws):
        own = seed * options.draws + draw
        near, far = same_size(train, holdout, options.max_profiles, own)
        rows = np.random.default_rng([own, 4]).permutation(len(made))[: options.max_profiles]
        found = closeness_test(
            made.kwh[rows], near.kwh, far.kwh, near.household, far.household, options.permutations, own
        )
        columns = {"attack": "reconstruction", "draw": draw, "n": found.n_released, "n_others": found.n_households}
        for metric, value, unit in (
            ("ks_statistic", found.statistic, "1"),
            ("ks_p_value", found.p_value, "1"),
            ("permutation_p_value", found.permutation_p_value, "1"),
            ("closer", found.closer, "1"),
            ("median_train_kwh", found.median_train_kwh, "kWh"),
            ("median_holdout_kwh", found.median_holdout_kwh, "kWh"),
        ):
            table.add(metric, value, unit, **columns)


def add_copies(
    table: RecordTable,
    release: DailyProfiles,
    made: DailyProfiles,
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    options: LeakageOptions,
    seed: int,
) -> None:
    """Record exact copies in the whole release, near ones in a part of it, and the verdict."""
    asked = made.kwh[: options.max_profiles]
    near, exact = [], []
    for whole, side in zip((train, holdout), same_size(train, holdout, options.max_released, seed), strict=True):
        found = most_similar(asked, side.kwh, options.shifts)
        # Near copies are looked for in as many days of each side, exact ones in all: these are near, too.
        near.append(replace(found, distance=np.where(exact_copies(asked, whole.kwh), 0.0, found.distance)))
        exact.append(float(exact_copies(release.kwh, whole.kwh).mean()))
    for against, found, same in zip(("train", "holdout"), near, exact, strict=True):
        columns = {"attack": "similarity", "against": against}
        table.add("exact_copies", same, "1", n=len(release), **columns)
        table.add("near_copies", found.share(options.near), "1", n=len(asked), **columns)
        table.add("near_copies_in_time", found.share(options.near, shifted=False), "1", n=len(asked), **columns)
        for level in (0.01, 0.05, 0.25, 0.5):
            value = float(np.quantile(found.distance, level))
            table.add("nearest_relative_distance", value, "1", at=level, n=len(asked), **columns)
    verdict = check_copies((exact[0], exact[1]), near[0], near[1], options.near, options.max_copies)
    table.add("passed", float(verdict.passed), "1", attack="similarity", note=" ".join(verdict.reasons))


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
