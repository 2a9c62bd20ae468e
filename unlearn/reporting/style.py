"""The style sheet: names, labels and colours that sentences, tables and figures share. It draws nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

#: One colour per criterion, as in the paper: red MSE, blue MAPE, green cost.
CRITERION_COLOURS = {"mse": "#c8403f", "mape": "#2b6ca3", "cost": "#2f8f4e"}
CRITERIA = tuple(CRITERION_COLOURS)
CRITERION_NAMES = {"mse": "MSE", "mape": "MAPE", "cost": "Cost"}
METRIC_LABELS = {"mse": "MSE [p.u.²]", "mape": "MAPE [%]", "cost": "Operating cost [money/h]"}
SPLIT_COLOURS = {"remain": "#4c72b0", "unlearn": "#dd8452", "test": "#222222"}
#: What has no colour of its own takes one of these, in order.
PALETTE = ("#2b6ca3", "#c8403f", "#2f8f4e", "#dd8452", "#6b4c9a", "#8c6d31", "#4aa5b5")
BLUE, RED, GREEN, ORANGE, PURPLE = PALETTE[:5]
#: Real data, and what a figure is measured against, is nearly black; what only helps to read it is grey.
INK, GREY, FAINT = "#222222", "0.35", "#9a9a9a"
FORECASTER_NAMES = {"linear": "Linear", "cnn": "CNN", "mixer": "MLP-Mixer"}
#: Methods of unlearning.
METHOD_NAMES = {
    "original": "original",
    "first_order": "first-order update",
    "unlearnt": "complete unlearning",
    "retrained": "retrained",
}
#: Attacks on models that have forgotten.
ATTACK_NAMES = {
    "loss": "loss",
    "likelihood_ratio": "likelihood ratio",
    "parameters": "parameters",
}
#: The detector of the published work.
GAN = "gan"
#: What flags poisoned hours of loads beside the detectors of anomalies, "truth" first and "none" last.
POISON_DETECTOR_NAMES = {
    "truth": "the truth",
    "residual": "forecast residual",
    "influence_mse": "influence on MSE",
    "influence_cost": "influence on cost",
    "none": "no detector",
}
POISON_DETECTOR_COLOURS = {"truth": GREEN, "residual": BLUE, "influence_mse": ORANGE, "influence_cost": RED}
#: Bands of risk from the least severe.
RISK_COLOURS = {"Low": "#f2c572", "Medium": "#dd8452", "High": "#a8322f"}
#: Protocols in the order in which they are shown.
PROTOCOLS = ("published", "fair")
#: Column of records that says whether their run was too small to be a result, and what is then said of it.
TINY = "tiny"
NOT_A_RESULT = (
    "Not a result: a tiny run, with too little data and training to mean anything. It shows that everything runs."
)


def named(name: str, names: Mapping[str, str]) -> str:
    """What is known by a name as people call it; one that the style sheet does not know keeps its name."""
    return names.get(name, name.replace("_", " "))


def rule_named(rule: str) -> str:
    """A rule for thresholds as people call it."""
    return "best F1 on validation" if rule == "best_f1" else rule


def coloured(names: Iterable[str], fixed: Mapping[str, str] | None = None) -> dict[str, str]:
    """A colour for each name: its fixed one, or the next of the palette that no other of them has."""
    fixed, given = fixed or {}, list(names)
    taken = {fixed[name] for name in given if name in fixed}
    free = [colour for colour in PALETTE if colour not in taken] or list(PALETTE)
    others = [name for name in given if name not in fixed]
    return {name: fixed.get(name) or free[others.index(name) % len(free)] for name in given}


def protocols_of(records: pd.DataFrame) -> list[str]:
    """Protocols that the records hold, the published one first."""
    return [protocol for protocol in PROTOCOLS if protocol in set(records["protocol"])]


def is_tiny(records: pd.DataFrame) -> bool:
    """Whether any of the records comes from a run that was too small to be a result."""
    return TINY in records and bool(records[TINY].eq(True).any())
