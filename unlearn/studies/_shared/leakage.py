"""Leakage of one release as records: membership, reconstruction, copies and attributes.

Of outlier households, a generator is fitted with some, and others stand beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from unlearn.studies._shared.attributes import add_attributes, folds, require_comparable, same_size
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
    own = _Attacked(release, train, holdout, options or LeakageOptions(), seed, labels)
    attacks = [partial(own.membership, attack) for attack in require_attacks(own.options.attacks)]
    steps: list[Callable[[], None]] = [*attacks, own.reconstruction, own.copies, own.attributes]
    for step in tqdm(steps, desc=f"attacks on {release.name}", leave=False):
        step()
    return own.table


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
    own = _Attacked(release, train, holdout, options or LeakageOptions(), seed, labels)
    own.attributes()
    return own.table


class _Attacked:
    """A release under attack: its profiles that are looked at, the households on both sides, and the records."""

    def __init__(
        self,
        release: DailyProfiles,
        train: HouseholdProfiles,
        holdout: HouseholdProfiles,
        options: LeakageOptions,
        seed: int,
        labels: Mapping[str, object] | None,
    ) -> None:
        require_comparable(release, train, holdout)
        self.release, self.train, self.holdout, self.options, self.seed = release, train, holdout, options, seed
        random = np.random.default_rng([seed, 1])
        self.made = release.take(random.permutation(len(release))[: options.max_released])
        self.halves = folds(train, holdout, options.max_profiles, seed)
        common = {"experiment": "leakage", "data": train.name, "seed": seed, "generator": release.name}
        self.table = RecordTable(**{**common, **(labels or {})})

    def membership(self, attack: Attack) -> None:
        """Record one attack for profiles, resampled by household, and for households."""
        scores: list[list[np.ndarray]] = [[], []]
        for fold in self.halves:
            attacked = np.concatenate([fold.members.kwh, fold.others.kwh])
            found = membership_scores(attack, self.made.kwh, attacked, fold.reference.kwh, self.seed)
            for own, part in zip(scores, np.split(found, [len(fold.members)]), strict=True):
                own.append(part)
        members, others = (np.concatenate(own) for own in scores)
        groups = [_names([fold.members for fold in self.halves]), _names([fold.others for fold in self.halves])]
        self._add_outcome(attack.name, "profile", (members, others), groups)
        if attack.score_of_a_copy is not None:
            # These have the highest score that there is, as copies of members have: a threshold that accuses fewer
            # others accuses nobody, and the true positive rate at a lower false positive rate is 0 whatever was copied.
            share = float((others >= attack.score_of_a_copy).mean())
            note = "identical to a released profile: at lower false positive rates nobody can be accused"
            columns = {"attack": attack.name, "unit_attacked": "profile", "n": len(members), "n_others": len(others)}
            self.table.add("identical_others", share, "1", note=note if share else "", **columns)
        top = self.options.top
        whole = [household_scores(own, who, top)[0] for own, who in zip((members, others), groups, strict=True)]
        self._add_outcome(attack.name, "household", (whole[0], whole[1]))

    def _add_outcome(
        self,
        attack: str,
        unit: str,
        scores: tuple[np.ndarray, np.ndarray],
        groups: Sequence[np.ndarray | None] = (None, None),
    ) -> None:
        n_others = len(scores[1])
        possible = tuple(fpr for fpr in self.options.fprs if n_others * fpr >= 1 - 1e-9)
        own, other = groups
        outcome = measure_attack(*scores, unit=unit, member_group=own, other_group=other, fprs=possible, seed=self.seed)
        columns: dict[str, Any] = {"attack": attack, "unit_attacked": unit}
        columns |= {"n": outcome.n_members, "n_others": n_others}
        for metric, estimate in outcome.metrics().items():
            self.table.add(metric, unit="1", **estimate._asdict(), **columns)
        for fpr in self.options.fprs:
            if fpr not in possible:
                note = f"{n_others} {unit}s that are no members are too few for a false positive rate of {fpr:g}"
                self.table.add(f"tpr_at_fpr_{fpr:g}", np.nan, "1", note=note, **columns)

    def reconstruction(self) -> None:
        """Record whether the release is closer to training households, for several draws."""
        options = self.options
        for draw in range(options.draws):
            own = self.seed * options.draws + draw
            near, far = same_size(self.train, self.holdout, options.max_profiles, own)
            rows = np.random.default_rng([own, 4]).permutation(len(self.made))[: options.max_profiles]
            found = closeness_test(
                self.made.kwh[rows], near.kwh, far.kwh, near.household, far.household, options.permutations, own
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
                self.table.add(metric, value, unit, **columns)

    def copies(self) -> None:
        """Record exact copies in the whole release, near ones in a part of it, and the verdict."""
        options, release, table = self.options, self.release, self.table
        asked = self.made.kwh[: options.max_profiles]
        near, exact = [], []
        sides = same_size(self.train, self.holdout, options.max_released, self.seed)
        for against, whole, side in zip(("train", "holdout"), (self.train, self.holdout), sides, strict=True):
            # Near copies are looked for in as many days of each side, exact ones in all: these are near, too.
            found = most_similar(asked, side.kwh, options.shifts)
            found = replace(found, distance=np.where(exact_copies(asked, whole.kwh), 0.0, found.distance))
            near.append(found)
            exact.append(float(exact_copies(release.kwh, whole.kwh).mean()))
            columns: dict[str, Any] = {"attack": "similarity", "against": against}
            table.add("exact_copies", exact[-1], "1", n=len(release), **columns)
            columns |= {"n": len(asked)}
            table.add("near_copies", found.share(options.near), "1", **columns)
            table.add("near_copies_in_time", found.share(options.near, shifted=False), "1", **columns)
            for level in (0.01, 0.05, 0.25, 0.5):
                value = float(np.quantile(found.distance, level))
                table.add("nearest_relative_distance", value, "1", at=level, **columns)
        reasons = check_copies((exact[0], exact[1]), near[0], near[1], options.near, options.max_copies)
        table.add("passed", float(not reasons), "1", attack="similarity", note=" ".join(reasons))

    def attributes(self) -> None:
        """Record what attackers guess of each attribute."""
        add_attributes(self.table, self.made, self.halves, self.options, self.seed)


def _names(parts: Sequence[HouseholdProfiles]) -> np.ndarray:
    return np.concatenate([part.households["household_id"].to_numpy()[part.household].astype(str) for part in parts])


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
) -> RecordTable:
    """Fit a generator with outlier households, attack its release, and do so again with other outliers.

    Args:
        fit: takes training households and a seed, and gives a release; called `options.fits` times.
        train: training households, without outliers.
        holdout: other households, from which the attacker learns what real ones look like.
        options: how many outliers and fits.
        seed: of outliers and fits.

    Returns:
        Records of `score_outliers` of every fit, then those of `pool_outliers`.

    Raises:
        InputError: whatever the generator refuses, or outliers that cannot be made.
        MismatchError: a household on both sides.
    """
    options = options or LeakageOptions()
    tables = [
        score_outliers(fit, train, holdout, options, seed, repeat).to_frame()
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

    Arguments and errors are those of `measure_outliers`; `repeat` says which of the study's fits it is, each of which
    has other outliers, and `labels` are further columns of every record.

    Returns:
        A `score` of each outlier household for each attack, higher means "trained on", and its `relative_radius`;
        columns `outliers` (seen, unseen, unseen_other), `household`, `attack`, `fit`, `generator`.
    """
    require_other_households("outliers", train, holdout)
    own = seed * _FITS_APART + repeat
    sets = draw_outliers(train, options.outliers, own)
    release = fit(inject_outliers(train, sets["seen"]), own)
    random = np.random.default_rng([own, 1])
    known = holdout.kwh[random.permutation(len(holdout))[: options.max_profiles]]
    # All that was released: an outlier may be behind a few profiles only.
    common: dict[str, Any] = {"experiment": "leakage", "data": train.name, "seed": seed, "generator": release.name}
    common |= {"unit_attacked": "outlier household", "fit": repeat}
    table = RecordTable(**{**common, **(labels or {})})
    for name, outliers in sets.items():
        ids = outliers.households["household_id"].to_numpy()
        radius = relative_radius(release.kwh, outliers.kwh, outliers.household)
        for who, value in zip(ids, radius, strict=True):
            table.add("relative_radius", value, "1", outliers=name, household=who)
    days = np.concatenate([outliers.kwh for outliers in sets.values()])
    owners = _names(list(sets.values()))
    of_household = dict(zip(owners, np.repeat(list(sets), list(map(len, sets.values()))), strict=True))
    for attack in OUTLIER_ATTACKS:
        scores, names = household_scores(membership_scores(attack, release.kwh, days, known, own), owners)
        for who, value in zip(names, scores, strict=True):
            table.add("score", value, "1", attack=attack.name, outliers=of_household[who], household=who)
    return table


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
