"""Influence of each remaining sample on the three criteria, and how they correlate (Fig 5)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from unlearn.checks import IntArray
from unlearn.studies._shared.study import Study
from unlearn.unlearning import remain_weights

CRITERIA = ("mse", "mape", "cost")


def sensitivity(study: Study, share: float, draw: int = 1000) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every remaining sample on every criterion (eq. 23, Hessian over R).

    Args:
        study: forecaster and protocol.
        share: share of the head's training rows that is removed.
        draw: samples drawn for the figure, half under- and half over-generated.

    Returns:
        Records with the Pearson correlation of each pair of criteria, over the drawn samples
        ("drawn", as published) and over all that remain ("remain"); and a table of samples with
        columns row, over_generated, drawn, mse, mape, cost: influences with the library's sign,
        positive where removing the sample makes the criterion worse.
    """
    removed = study.positions(share)
    share = len(removed) / study.objective.n_samples
    weights = remain_weights(study.objective, removed)
    remain = weights.numpy() > 0
    samples = pd.DataFrame({name: study.influence(name, weights)[remain] for name in CRITERIA})
    samples.insert(0, "row", study.training_rows[remain])
    samples.insert(1, "over_generated", study.over_generated[remain])
    samples.insert(2, "drawn", False)
    samples.loc[_draw(samples["over_generated"].to_numpy(), draw, study.seed), "drawn"] = True
    table = study.records("sensitivity")
    for split, chosen in (("remain", samples), ("drawn", samples[samples["drawn"]])):
        for first, second in combinations(CRITERIA, 2):
            value = chosen[first].corr(chosen[second])
            table.add(f"pearson_{first}_{second}", value, "", method="original", proportion=share, split=split)
        over = float(chosen["over_generated"].sum())
        table.add("over_generated_samples", over, "samples", method="original", proportion=share, split=split)
        table.add("samples", float(len(chosen)), "samples", method="original", proportion=share, split=split)
    return table.to_frame(), samples


def _draw(over_generated: np.ndarray, draw: int, seed: int) -> IntArray:
    """Draw equally many under- and over-generated samples, as many as there are of the rarer."""
    generator = np.random.default_rng(seed)
    groups = [np.flatnonzero(over_generated), np.flatnonzero(~over_generated)]
    each = min(draw // 2, *(len(group) for group in groups))
    return np.concatenate([generator.permutation(group)[:each] for group in groups])
