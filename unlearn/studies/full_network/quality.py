"""How well predictions of influence rank and place the true changes, from the records of `measure_seed`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr

from unlearn.errors import InputError
from unlearn.records import RecordTable

#: Resamples of groups behind a bootstrap interval, and its coverage.
RESAMPLES, COVERAGE = 1000, 0.95

#: The truths that each method predicts.
TRUTHS = {"gauss_newton": ("scratch", "warm"), "hessian": ("scratch", "warm"), "head": ("exact",)}


def assess(records: pd.DataFrame, table: RecordTable) -> None:
    """Add Spearman correlations, linear datamodelling scores and the chosen condition of every method.

    `spearman` compares predicted and true changes of the test MSE over the groups of one use: of each seed, and
    of the means over seeds (`over` says which) with a bootstrap interval over groups. `lds` is the linear
    datamodelling score (Park et al., ICML 2023): Spearman over random halves between the sum of scores and
    refits averaged over seeds, mean over blocks of test hours. The method "other seeds" predicts a seed's refits
    by the mean of the others' refits: as well as can be done without knowing the network of that seed.
    """
    for method, condition in chosen_conditions(records).items():
        table.add("chosen_condition", condition, "", method=method)
    _add_spearman(records, table)
    _add_lds(records, table)


def chosen_conditions(records: pd.DataFrame) -> dict[str, float]:
    """Condition of each method with the smallest median distance to refits from scratch, over groups for choosing."""
    own = records[(records["use"] == "choice") & (records["predictor"] == "newton")]
    distance = own[(own["metric"] == "distance_to_refit") & (own["truth"] != "warm")]
    absent = own[(own["metric"] == "indefinite") & (own["value"] == 1)].assign(value=np.inf)
    if distance.empty:
        raise InputError('full network: expected records of "distance_to_refit" of the use "choice", got none.')
    both = pd.concat([distance, absent], ignore_index=True)
    chosen = {}
    for method, of_method in both.groupby("method"):
        medians = of_method.groupby("condition")["value"].median().sort_index(ascending=False)
        chosen[str(method)] = float(medians.index[int(medians.to_numpy().argmin())])
    return chosen


def _add_spearman(records: pd.DataFrame, table: RecordTable) -> None:
    keys = ["use", "seed", "group"]
    predicted = records[records["metric"] == "predicted_change"]
    true = records[(records["metric"] == "true_change") & (records["use"] != "noise")]
    for truth, own in true.groupby("truth"):
        changes = own.set_index(keys)["value"]
        if truth != "exact":
            _compare_seeds(changes, str(truth), table)
        for named, values in _by_settings(predicted, str(truth)):
            both = pd.DataFrame({"predicted": values.set_index(keys)["value"], "true": changes}).dropna()
            for use, pairs in both.groupby(level="use"):
                columns = {**named, "truth": truth, "use": use}
                for seed, one in pairs.groupby(level="seed"):
                    table.add("spearman", _rank(one), "", seed=seed, over="seed", **columns)
                means = pairs.groupby(level="group").mean()
                low, high = _interval(means)
                table.add("spearman", _rank(means), "", over="means", **columns)
                table.add("spearman_low", low, "", over="means", **columns)
                table.add("spearman_high", high, "", over="means", **columns)


def _by_settings(predicted: pd.DataFrame, truth: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Predictions of each method that has this truth, by condition and predictor; damping differs between seeds."""
    for method in (method for method, truths in TRUTHS.items() if truth in truths):
        own = predicted[predicted["method"] == method]
        for condition in sorted(own["condition"].unique()):
            for predictor in ("influence", "newton"):
                rows = own[(own["condition"] == condition) & (own["predictor"] == predictor)]
                if len(rows):
                    yield {"method": method, "condition": condition, "predictor": predictor}, rows


def _compare_seeds(changes: pd.Series, truth: str, table: RecordTable) -> None:
    for use, own in changes.groupby(level="use"):
        by_seed = own.droplevel("use").unstack("seed").dropna()
        for seed in by_seed.columns if by_seed.shape[1] > 1 else []:
            pairs = pd.DataFrame({"predicted": by_seed.drop(columns=seed).mean(axis=1), "true": by_seed[seed]})
            columns = {"seed": seed, "over": "seed", "truth": truth, "use": use}
            table.add("spearman", _rank(pairs), "", method="other seeds", predictor="refit", **columns)


def _add_lds(records: pd.DataFrame, table: RecordTable) -> None:
    keys = ["block", "group"]
    true = records[records["metric"] == "true_block_change"]
    predicted = records[records["metric"] == "predicted_block_change"]
    for truth, own in true.groupby("truth"):
        by_seed = own.set_index(["seed", *keys])["value"].unstack("seed")
        average = by_seed.mean(axis=1)
        for seed in by_seed.columns if truth != "exact" and by_seed.shape[1] > 1 else []:
            score = _lds(by_seed[seed], by_seed.drop(columns=seed).mean(axis=1))
            columns = {"seed": seed, "over": "seed", "truth": truth, "use": "subset"}
            table.add("lds", score, "", method="other seeds", predictor="refit", **columns)
        for named, values in _by_settings(predicted, str(truth)):
            scores = values.set_index(["seed", *keys])["value"].unstack("seed")
            columns = {**named, "truth": truth, "use": "subset"}
            # A head's refits belong to the features of one seed; a network's are averaged over seeds.
            for seed in scores.columns:
                against = by_seed[seed] if truth == "exact" else average
                table.add("lds", _lds(scores[seed], against), "", seed=seed, over="seed", **columns)
            table.add("lds", _lds(scores.mean(axis=1), average), "", over="means", **columns)


def _lds(predicted: pd.Series, true: pd.Series) -> float:
    pairs = pd.DataFrame({"predicted": predicted, "true": true})
    return float(np.mean([_rank(own) for _, own in pairs.groupby(level="block")]))


def _rank(pairs: pd.DataFrame) -> float:
    """Spearman correlation; 0 where one side does not vary, which tells nothing of the other."""
    if len(pairs) < 2 or (pairs.nunique() < 2).any():
        return 0.0
    return float(spearmanr(pairs["predicted"], pairs["true"]).statistic)


def _interval(pairs: pd.DataFrame) -> tuple[float, float]:
    """Bootstrap interval of the Spearman correlation over resampled groups."""
    rows = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
    predicted, true = (rankdata(pairs[name].to_numpy()[rows], axis=1) for name in ("predicted", "true"))
    predicted -= predicted.mean(axis=1, keepdims=True)
    true -= true.mean(axis=1, keepdims=True)
    scale = np.sqrt((predicted**2).sum(axis=1) * (true**2).sum(axis=1))
    products = (predicted * true).sum(axis=1)
    ranks = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    low, high = np.quantile(ranks, [0.5 - COVERAGE / 2, 0.5 + COVERAGE / 2])
    return float(low), float(high)
