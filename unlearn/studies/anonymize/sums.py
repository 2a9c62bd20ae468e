"""Releases of sums: by feeder, substation and area, and by class; what their differences and members tell."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.attacks.differencing import find_differences
from unlearn.attacks.outcome import Estimate, measure_attack
from unlearn.attacks.sums import SumOptions, attack_sums, sum_scores
from unlearn.checks import BoolArray, FloatArray, IntArray, short_repr
from unlearn.households.meters import RESOLUTION_KWH, Meters
from unlearn.privacy.anonymize.aggregation import Aggregated, aggregate
from unlearn.privacy.anonymize.suppression import AggregationRule
from unlearn.records import RecordTable
from unlearn.studies._shared.feeders import AREA
from unlearn.studies.anonymize.options import SUMS, SUMS_15_15, SUPPRESSED
from unlearn.studies.anonymize.releases import parquet_size
from unlearn.studies.anonymize.setting import Setting, meters_of
from unlearn.studies.anonymize.table import AFTER, BEFORE, HIERARCHY, SPANS, TWO_WAYS

#: The rule of each step; the first publishes all.
RULES: Mapping[str, AggregationRule] = {
    SUMS: AggregationRule(least_customers=1, largest_share=1.0, complementary=False),
    SUMS_15_15: AggregationRule(complementary=False),
    SUPPRESSED: AggregationRule(),
}
#: Share of the households that use most, which an attacker looks for too; share that it knows beside its target.
LARGEST, _KNOWN_OTHERS = 0.1, 0.4
#: Difference in kWh up to which a reading is recovered.
_SAME_KWH = 1e-6
#: Purposes of chance.
_DISTRICTS, _HOURS = 5, 6


@short_repr
@dataclass(frozen=True, eq=False)
class Sums:
    """Published hourly sums over groups of households.

    Attributes:
        made: sums of all G groups, NaN where one is withheld.
        readings: of the households by hour, shape (C, H).
        seconds: that the release took.
    """

    made: Aggregated
    readings: FloatArray
    seconds: float

    def _in_short(self) -> str:
        return f"{int(self.published.sum())} of {len(self.made.groups)} sums"

    @property
    def published(self) -> BoolArray:
        """Which sums are given away in all hours, shape (G,)."""
        return np.asarray((self.made.reasons == 0).all(axis=1))

    @property
    def withheld_energy(self) -> float:
        """Share of the energy of all sums that is withheld."""
        every = float((self.made.member.astype(np.float64) @ self.readings).sum())
        return float(self.made.withheld_kwh.sum()) / every if every else 0.0

    @property
    def largest_difference(self) -> float:
        """Of a published sum from that of its readings in whole multiples of their resolution, in kWh."""
        whole = np.rint(self.readings / RESOLUTION_KWH).astype(np.int64)
        exact = self.made.member[self.published].astype(np.int64) @ whole
        return float(np.abs(self.made.kwh[self.published] - exact * RESOLUTION_KWH).max(initial=0.0))

    def size(self) -> int:
        """Bytes of the release as a file, a column per sum."""
        names = [self.made.groups[g] for g in np.flatnonzero(self.published)]
        return parquet_size(pd.DataFrame(self.made.kwh[self.published].T, index=self.made.times, columns=names))

    def rebuilt(self) -> FloatArray:
        """Hourly readings of each household as far as sums tell them: its part of the smallest published group's.

        Shape (C, H).
        """
        customers = self.made.member.sum(axis=1)
        told = np.full(self.readings.shape, float(self.readings.mean()))
        for g in np.flatnonzero(self.published)[np.argsort(-customers[self.published], kind="stable")]:
            told[self.made.member[g]] = self.made.kwh[g] / customers[g]
        return told


def publish(setting: Setting, step: str, publication: str = HIERARCHY) -> Sums:
    """Sum up readings by group, and withhold what the step's rule does."""
    start = time.perf_counter()
    feeders = setting.feeders
    meters, parents = feeders.meters, feeders.parents
    groups = pd.Series(feeders.groups, name="feeder").reindex(list(meters.customer_ids)).to_frame()
    if publication == TWO_WAYS:
        groups["class"] = [f"class {own}" for own in setting.readings.segment]
        parents = {}
    made = aggregate(meters, groups, rule=RULES[step], parents=parents)
    seconds = time.perf_counter() - start
    return Sums(made, meters.series(np.arange(len(meters))), seconds)


def measure_differences(setting: Setting, step: str, table: RecordTable) -> None:
    """Add what the differences of a step's sums isolate, by feeder, substation and area, and by feeder and class."""
    for publication in (HIERARCHY, TWO_WAYS):
        made = publish(setting, step, publication)
        start = time.perf_counter()
        own = {"part": "differencing", "publication": publication, "step": step}
        _add_findings(made, table, own)
        for metric, value, unit in (
            ("sums", int(made.published.sum()), ""),
            ("withheld", int((~made.published).sum()), ""),
            ("withheld_energy", made.withheld_energy, "share"),
            ("seconds", made.seconds + time.perf_counter() - start, "s"),
        ):
            table.add(metric, value, unit, **own)


def _add_findings(sums: Sums, table: RecordTable, own: Mapping[str, object]) -> None:
    """Add the combinations that break the 15/15 rule, those of too few, and readings that they recover."""
    rule, shown = AggregationRule(), sums.published
    member = sums.made.member[shown]
    if not len(member):
        for metric in ("breaking", "isolating", "recovered"):
            table.add(metric, 0, "", **own)
        return
    found = find_differences(
        member,
        rule.least_customers,
        values=sums.made.kwh[shown],
        readings=sums.readings,
        energy=sums.readings.sum(axis=1),
        largest_share=rule.largest_share,
    ).frame()
    if len(found):
        table.add("fewest", found["customers"].min(), "customers", **own)
    for metric, value in (
        ("breaking", len(found)),
        ("isolating", (found["customers"] < rule.least_customers).sum()),
        ("recovered", ((found["customers"] == 1) & (found["largest_error"] < _SAME_KWH)).sum()),
    ):
        table.add(metric, int(value), "", **own)


def measure_composition(setting: Setting, table: RecordTable) -> None:
    """Add what two releases tell together: by district, and by district without those in the solar programme.

    Args:
        setting: the standard households' solar cells are known.
        table: gets the records.
    """
    profiles, n_districts = setting.solar.profiles, setting.options.districts
    meters: Meters = meters_of(profiles)
    owns = profiles.households["solar"].to_numpy(dtype=bool)
    district = setting.random(_DISTRICTS).permutation(len(meters)) % n_districts
    groups = pd.DataFrame({"usage": [f"district {i}" for i in district]}, index=list(meters.customer_ids))
    groups["others"] = [
        None if solar else f"district {i}, not in the programme" for i, solar in zip(district, owns, strict=True)
    ]
    alone = np.bincount(district[owns], minlength=n_districts) == 1
    readings = meters.series(np.arange(len(meters)))
    for stage, rule in ((BEFORE, RULES[SUMS]), (AFTER, RULES[SUPPRESSED])):
        own = {"part": "composition", "stage": stage}
        _add_findings(Sums(aggregate(meters, groups, rule=rule), readings, 0.0), table, own)
        table.add("districts", n_districts, "", **own)
        table.add("one_solar", int(alone.sum()), "", **own)


# Who is in a sum.


def measure_membership(setting: Setting, table: RecordTable) -> None:
    """Add how well a household is told to be in a sum, by the size of the sum and by what is known of it."""
    readings, options = setting.readings.hourly(), setting.options
    for span, hours in SPANS.items():
        random = setting.random(_HOURS)
        length = min(hours, readings.shape[1])
        start = 24 * int(random.integers((readings.shape[1] - length) // 24 + 1))
        part = readings[:, start : start + length]
        for size in options.group_sizes:
            n_known = max(3, round(_KNOWN_OTHERS * len(part)))
            if len(part) - n_known < size + 1:
                continue
            own = {"part": "sums", "group_size": size, "span": span}
            found = attack_sums(part, size, SumOptions(options.trials, _KNOWN_OTHERS), setting.seed).auc
            table.add("auc", found.value, "", target="all", low=found.low, high=found.high, **own)
            if largest := _largest(part, size, options.trials, setting.seed):
                table.add("auc", largest.value, "", target="largest", low=largest.low, high=largest.high, **own)
        nobody = SumOptions(options.trials, _KNOWN_OTHERS, takes_part=False)
        size = max((own for own in options.group_sizes if len(part) - n_known > own), default=0)
        if size:
            found = attack_sums(part, size, nobody, setting.seed).auc
            own = {"part": "sums", "group_size": size, "span": span, "target": "nobody"}
            table.add("auc", found.value, "", low=found.low, high=found.high, **own)


def _largest(readings: FloatArray, size: int, n_trials: int, seed: int) -> Estimate | None:
    """AUC of telling that one of the largest households is in a sum; the attacker knows some others."""
    random = np.random.default_rng(seed)
    n = len(readings)
    top = np.argsort(-readings.sum(axis=1), kind="stable")[: max(2, round(LARGEST * n))]
    others = random.permutation(np.setdiff1d(np.arange(n), top))
    n_known = min(max(3, round(_KNOWN_OTHERS * n)), len(others) - size)
    if n_known < 3:
        return None
    reference, pool = readings[others[:n_known]], np.concatenate([others[n_known:], top])
    target = random.choice(top, size=(2, n_trials))
    scores = [
        sum_scores(_totals(readings, pool, own, size, inside, random), size, readings[own], reference)
        for own, inside in zip(target, (True, False), strict=True)
    ]
    return measure_attack(*scores, unit="household", member_group=target[0], other_group=target[1], seed=seed).auc


def _totals(
    readings: FloatArray, pool: IntArray, target: IntArray, size: int, inside: bool, random: np.random.Generator
) -> FloatArray:
    """Sums of households of a pool with the target of each trial, or without it, shape (K, T)."""
    order = random.random((len(target), len(pool)))
    order[pool == target[:, None]] = -1.0 if inside else 2.0
    chosen = np.zeros(order.shape)
    np.put_along_axis(chosen, np.argsort(order, axis=1)[:, :size], 1.0, axis=1)
    return np.asarray(chosen @ readings[pool])


def load_of_sums(sums: Sums, setting: Setting) -> FloatArray:
    """Hourly loads of the feeders as somebody makes them of published sums, shape (D, B, 24).

    A feeder that is withheld takes its share, by customers, of what its substation has beyond its published feeders;
    or of what the area has beyond those; or the mean of the published feeders per customer.
    """
    feeders, made = setting.feeders, sums.made
    place = {name: g for g, name in enumerate(made.groups)}
    rows = np.array([place[name] for name in feeders.names])
    customers, published = made.member.sum(axis=1)[rows], sums.published
    load, there = made.kwh[rows].copy(), published[rows].copy()
    families = [(name, feeders.substation_of == i) for i, name in enumerate(feeders.substations)]
    for parent, children in [*families, (AREA, np.ones(len(rows), dtype=bool))]:
        missing = np.flatnonzero(children & ~there)
        if len(missing) and published[place[parent]]:
            rest = np.maximum(made.kwh[place[parent]] - load[children & there].sum(axis=0), 0)
            load[missing] = rest * (customers[missing] / customers[missing].sum())[:, None]
            there[missing] = True
    known, missing = np.flatnonzero(published[rows]), np.flatnonzero(~there)
    each = load[known].sum(axis=0) / customers[known].sum() if len(known) else setting.standard_hourly
    load[missing] = each * customers[missing][:, None]
    return feeders.by_day(load)
