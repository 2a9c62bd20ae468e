"""What the records say about the paper's claims, as plain sentences with a verdict each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.reporting.labels import CRITERION_NAMES, FORECASTER_NAMES

CRITERIA = ("mse", "mape", "cost")


@dataclass(frozen=True)
class Claim:
    """A sentence, whether the records support it, and the figures behind it."""

    sentence: str
    holds: bool
    figures: str


def summarise(records: pd.DataFrame) -> str:
    """Say in one sentence what forgetting cost one forecaster, and what TAMU brought back."""
    cost = records[(records["experiment"] == "tradeoff") & (records["metric"] == "cost")]
    level = cost.set_index("method")["value"]
    tamu = cost[cost["criterion"] == "cost"].sort_values("l1_budget").iloc[-1]
    share = 100 * float(tamu["proportion"])
    return (
        f"{FORECASTER_NAMES[str(tamu['forecaster'])]}: forgetting {share:.0f} % of the training hours completely moves "
        f"the operating cost on the test hours from {level['original']:,.0f} to {level['retrained']:,.0f} an hour; "
        f"with TAMU at λ₁ = {tamu['l1_budget']:g} it is {tamu['value']:,.0f}."
    )


def compare_gradients(records: pd.DataFrame) -> list[str]:
    """Say for each forecaster where TAMU ends with the exact gradient and with the published code's."""
    sentences = []
    for forecaster, own in records.groupby("forecaster"):
        ends = own[(own["criterion"] == "cost") & (own["metric"] == "cost")].sort_values("l1_budget")
        last = {experiment: rows.iloc[-1] for experiment, rows in ends.groupby("experiment")}
        if "derivative" not in last:
            continue
        gap, cosine = (
            float(own.loc[own["metric"] == metric, "value"].iloc[0])
            for metric in ("gradient_difference", "gradient_cosine")
        )
        sentences.append(
            f"{FORECASTER_NAMES[str(forecaster)]}: with cvxpylayers' default derivative, as published, the gradient of "
            f"the cost in the parameters is off by {100 * gap:.0f} % (cosine {cosine:.3f}) and TAMU ends at "
            f"{last['derivative']['value']:,.0f} an hour at λ₁ = {last['tradeoff']['l1_budget']:g}; with the exact one "
            f"at {last['tradeoff']['value']:,.0f}."
        )
    return sentences


def check_claims(records: pd.DataFrame) -> list[Claim]:
    """Check the records of one forecaster and protocol (experiments completeness and tradeoff)."""
    tradeoff = records[(records["experiment"] == "tradeoff")]
    curves = {
        (criterion, metric): tradeoff[(tradeoff["criterion"] == criterion) & (tradeoff["metric"] == metric)]
        .sort_values("l1_budget")["value"]
        .to_numpy()
        for criterion in CRITERIA
        for metric in CRITERIA
    }
    level = tradeoff[tradeoff["method"].isin(["original", "retrained"])].set_index(["method", "metric"])["value"]
    name = FORECASTER_NAMES[str(records["forecaster"].iloc[0])]
    starts = tradeoff["l1_budget"].min() == 0
    several = tradeoff["l1_budget"].nunique() > 1
    return [
        _exactness(records, name),
        *([_start(curves, level, name)] if starts else []),
        *(_monotone(curves[criterion, criterion], criterion, name) for criterion in CRITERIA if several),
        _lowest(curves, level, name),
    ]


def _exactness(records: pd.DataFrame, name: str) -> Claim:
    rows = records[(records["metric"] == "distance_to_retrained") & (records["method"] == "unlearn_gradient")]
    worst = float(rows["value"].max())
    return Claim(
        f"{name}: complete unlearning equals retraining (relative parameter difference at most 1e-8).",
        worst <= 1e-8,
        f"worst {worst:.1e} over shares {100 * rows['proportion'].min():.0f} to {100 * rows['proportion'].max():.0f} %",
    )


def _start(curves: dict[tuple[str, str], np.ndarray], level: pd.Series, name: str) -> Claim:
    gaps = [abs(curve[0] / level["retrained", metric] - 1) for (_, metric), curve in curves.items()]
    return Claim(
        f"{name}: at λ₁ = 0 every curve starts at the complete-unlearning value (relative gap at most 1e-6).",
        max(gaps) <= 1e-6,
        f"largest relative gap {max(gaps):.1e}",
    )


def _monotone(curve: np.ndarray, criterion: str, name: str) -> Claim:
    rises = np.diff(curve) / curve[0]
    return Claim(
        f"{name}: {CRITERION_NAMES[criterion]} falls monotonically as λ₁ grows when it is what is balanced.",
        bool((rises < 0).all()),
        f"{curve[0]:.4g} → {curve[-1]:.4g}; largest step up {max(0.0, 100 * rises.max()):.2g} %",
    )


def _lowest(curves: dict[tuple[str, str], np.ndarray], level: pd.Series, name: str) -> Claim:
    ends = {criterion: float(curves[criterion, "cost"][-1]) for criterion in CRITERIA}
    listed = ", ".join(f"{CRITERION_NAMES[c]} {v:.0f}" for c, v in ends.items())
    return Claim(
        f"{name}: at the largest λ₁, TAMU reaches the lowest operating cost of the three.",
        ends["cost"] == min(ends.values()),
        f"balanced for {listed}; original {level['original', 'cost']:.0f}, complete {level['retrained', 'cost']:.0f}",
    )
