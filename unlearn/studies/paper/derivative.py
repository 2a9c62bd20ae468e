"""How much the published code's cost gradient, cvxpylayers with its defaults, matters to TAMU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch

from unlearn.grid import OperatingCost
from unlearn.studies._shared.study import Study
from unlearn.studies.paper.tradeoff import tradeoff


def published_derivative(study: Study, share: float, l1_budgets: Sequence[float]) -> pd.DataFrame:
    """Repeat TAMU's trade-off with the gradient as the published code takes it; measure as always.

    The same rows are forgotten, so that only the re-weighting differs: it follows the gradient of cvxpylayers in
    the angle form with its default derivative.

    Args:
        study: forecaster and protocol.
        share: share of the head's training rows to remove.
        l1_budgets: values of λ₁.

    Returns:
        Records of the experiment "derivative": those of `tradeoff` for the criterion cost, and the relative
        difference and the cosine between the two gradients of the mean cost in the parameters.
    """
    published = OperatingCost(study.cost.case, "cvxpylayers", "lsqr", "angle", study.cost.bounds)
    other = replace(
        study,
        gradient_cost=published,
        selection="given",
        given_rows=study.rows_to_unlearn(share),
        given_label=study.selection_label,
    )
    records = tradeoff(other, share, l1_budgets, ["cost"]).assign(experiment="derivative")
    exact, default = study.gradient("cost").gradient, other.gradient("cost").gradient
    table = study.records("derivative")
    table.add("gradient_difference", float((default - exact).norm() / exact.norm()), "relative", criterion="cost")
    cosine = torch.nn.functional.cosine_similarity(exact, default, dim=0)
    table.add("gradient_cosine", float(cosine), "", criterion="cost")
    return pd.concat([records, table.to_frame()], ignore_index=True)
