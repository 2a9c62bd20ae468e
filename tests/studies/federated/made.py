"""Made-up records of the study of federated learning, two seeds: round numbers that verdicts are told from."""

import pandas as pd

from unlearn.records import RecordTable, joined
from unlearn.studies.federated.options import (
    ALONE,
    AVERAGED,
    CASES,
    EXACT,
    FEDERATED,
    HALF_BACK,
    HEAD,
    KEPT,
    LINEAR,
    MIXER,
    NOTHING_WRONG,
    OTHER_SEED,
    POOLED,
    RETRAINED,
    ROLLED_BACK,
    SCALED,
    SECURE,
    UTILITY,
    WEIGHTED_MEAN,
    WRONGS,
)

UNITS = {"mse": "pu2", "mape": "percent", "cost": "money/h"}


def made_records(
    *,
    distance: float = 1e-12,
    together: float = 0.9,
    averaged: float = 1.0,
    single: float = 0.1,
    summed: float = 0.95,
    noisy: float = 1.0,
    scaled: float = 5.0,
    robust: float = 1.02,
    rolled: float = 0.0,
    right: float = 3.0,
    alone_customer: float = 0.05,
    seen: int = 0,
) -> pd.DataFrame:
    """Records of all parts.

    Args:
        distance: of exact models.
        together: error of the federated linear forecaster over that of each utility alone.
        averaged: of the averaged Mixer over the pooled one's.
        single: error of the attack on one update over that of guessing; `summed` on a secure sum, `noisy` with noise.
        scaled: error of the weighted mean under a scaled update; `robust` of the median.
        rolled: distance of the rolled-back model.
        right: ε that is spent with the fewest members, of 3 promised.
        alone_customer: error of one customer's mean day from two totals, over guessing.
        seen: messages that hold a member's sums.
    """
    tables = []
    for seed in (0, 1):
        table = RecordTable(experiment="federated", data="made", grid="four", protocol="fair", split="test", seed=seed)
        for name, value in {"utilities": 5, "households": 250, "feeders": 14, "hours_train": 6014,
                            "hours_test": 1719}.items():  # fmt: skip
            table.add(name, value, part="setting")
        _exact(table, distance, together)
        _unlearning(table, distance, rolled)
        _averaging(table, averaged, scaled, robust)
        _privacy(table, right)
        for view, batch, noise, own in (("single", 1, None, single), ("single", 4, None, 2 * single),
                                        ("sum", 1, None, summed), ("noisy", 1, 0.1, noisy)):  # fmt: skip
            columns = {"part": "inversion", "view": view, "batch": batch, "noise_multiplier": noise}
            for metric, value in (("error", 0.8 * own), ("guess", 0.8), ("relative", own)):
                table.add(metric, value, **columns)
        for family in ("exact sum",):
            for party in ("coordinator", "utility_1"):
                own = {"part": "traffic", "family": family, "party": party}
                table.add("bytes_sent", 1e5, "B", **own)
                table.add("bytes_received", 2e6, "B", **own)
                table.add("messages", 20, **own)
        table.add("sums_seen", seen, part="traffic")
        table.add("looked_at", 100, part="traffic")
        for n, error in ((1, alone_customer), (15, 0.95)):
            table.add("difference_relative", error, part="traffic", n_changed=float(n))
            table.add("difference_correlation", 1 - error, part="traffic", n_changed=float(n))
        tables.append(table.to_frame())
    return joined(tables)


def _forecasts(table: RecordTable, level: float, **columns: object) -> None:
    for utility in ("utility_1", "utility_2"):
        for metric, base in (("mse", 0.01), ("mape", 30.0), ("cost", 600.0)):
            table.add(metric, base * level, UNITS[metric], utility=utility, **columns)


def _exact(table: RecordTable, distance: float, together: float) -> None:
    for forecaster in (LINEAR, HEAD):
        for method, level in ((FEDERATED, together), (POOLED, together), (ALONE, 1.0)):
            own = {"part": "exact", "forecaster": forecaster, "method": method}
            _forecasts(table, level, **own)
            table.add("seconds", 1.0, "s", **own)
        own["method"] = FEDERATED
        for metric, value, unit in (("distance", distance, "relative"), ("bytes", 2e6, "B")):
            table.add(metric, value, unit, **own)


def _unlearning(table: RecordTable, distance: float, rolled: float) -> None:
    ways = [(EXACT, LINEAR, distance, 0.1), (RETRAINED, MIXER, 0.0, 30.0), (ROLLED_BACK, MIXER, rolled, 20.0),
            (HALF_BACK, MIXER, 0.1, 10.0),
            (KEPT, MIXER, 0.1, 0.0), (OTHER_SEED, MIXER, 0.2, 30.0)]  # fmt: skip
    for case in CASES:
        for method, forecaster, own, seconds in ways:
            seconds = 30.0 if case == UTILITY and method == ROLLED_BACK else seconds
            columns = {"part": "unlearning", "case": case, "method": method, "forecaster": forecaster}
            table.add("distance", own, "relative", **columns)
            table.add("distance_parameters", own, "relative", **columns)
            table.add("seconds", seconds, "s", **columns)
            table.add("bytes", 1e6 * seconds, "B", **columns)
            _forecasts(table, 1.0, **columns)


def _averaging(table: RecordTable, averaged: float, scaled: float, robust: float) -> None:
    own = {"part": "averaging", "forecaster": MIXER}
    for method, level in ((POOLED, 1.0), (ALONE, 1.1)):
        _forecasts(table, level, **own, method=method)
    _forecasts(table, 1.05, part="averaging", forecaster=LINEAR, method=FEDERATED)
    _forecasts(table, averaged, **own, method=SECURE, wrong=NOTHING_WRONG, aggregate=WEIGHTED_MEAN)
    for aggregate in (WEIGHTED_MEAN, "median"):
        for wrong in WRONGS:
            level = 1.0 if wrong in ("nothing", "dropped") else scaled if wrong == SCALED else 1.2
            level = level if aggregate == WEIGHTED_MEAN else robust
            _forecasts(table, averaged * level, part="attacked", method=AVERAGED, wrong=wrong, aggregate=aggregate)
    right = {**own, "method": AVERAGED, "wrong": NOTHING_WRONG, "aggregate": WEIGHTED_MEAN}
    _forecasts(table, averaged, **right)
    table.add("bytes", 4e7, "B", **right)
    table.add("seconds", 60.0, "s", **right)


def _privacy(table: RecordTable, right: float) -> None:
    for survivors, spent, naive in ((5, 2.5, 2.5), (4, 2.8, 3.2), (3, right, 4.0)):
        for way, value in (("promised", 3.0), ("right", spent), ("naive", naive)):
            table.add("epsilon_spent", value, part="privacy", method=way, survivors=survivors)
    for method, auc, epsilon in ((FEDERATED, 0.9, None), (POOLED, 0.9, None), (ALONE, 0.8, None),
                                 ("private", 0.7, 1.0), ("least_squares", 0.88, None),
                                 ("night_share", 0.75, None), ("high_hours", 0.7, None)):  # fmt: skip
        for metric, value in (("auc", auc), ("balanced_accuracy", auc - 0.1)):
            table.add(metric, value, part="privacy", method=method, epsilon=epsilon, whose="simulated")
