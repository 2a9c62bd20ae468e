"""How good influence functions and Newton steps are for a whole network, against true refits (Basu et al., ICLR 2021).

A prediction says how the test MSE changes if a group of rows is removed, or what the forecasts then are. The
truth is a refit without the group: "scratch" from the same initial weights in the same batch order, "warm"
continued from θ* on the rest and compared with continuing on all rows, and "exact" for the analytic head. Refits
of a network also differ for reasons that no row is to blame for: the same rows in another batch order, from
other initial weights, or from the same ones moved by 1e-6, are the noise floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.checks import short_repr
from unlearn.records import RecordTable
from unlearn.studies.full_network.curvature import Prediction
from unlearn.studies.full_network.groups import Group
from unlearn.studies.full_network.problem import NetworkProblem, block_bounds, block_means

#: Refits on all rows: the same weights in another order, other weights, and weights moved by `NUDGE`.
NOISE = ("order", "initial", "nudged")
NUDGE = 1e-6


@short_repr
@dataclass(frozen=True, eq=False)
class Truth:
    """Standardised test forecasts of refits.

    Attributes:
        control: of what refits are compared with, shape (hours, B): for "scratch" the original network, for "warm"
            the one that went on with all rows, for "exact" the head on all rows.
        refits: without each of the first groups in turn, shape (groups, hours, B).
    """

    control: Tensor
    refits: Tensor


@short_repr
@dataclass(frozen=True, eq=False)
class SeedStudy:
    """Everything of one seed.

    Attributes:
        seed: of initial weights and batch order.
        truths: "scratch" of all groups, "warm" of all but the subsets, "exact" of all for the head.
        noise: forecasts of refits on all rows by kind of noise, shape (models, hours, B).
        predictions: of the network and of the head.
    """

    seed: int
    truths: Mapping[str, Truth]
    noise: Mapping[str, Tensor]
    predictions: Sequence[Prediction]


def measure_seed(
    problem: NetworkProblem, groups: Sequence[Group], study: SeedStudy, n_blocks: int, table: RecordTable
) -> None:
    """Add what is measured of every group and of every noise refit.

    Metrics: `mse` of the controls; `true_change` and `predicted_change` of the test MSE; `refit_distance`, the
    root mean square between forecasts of control and refit; `distance_to_refit`, what is left of it after the
    Newton step as a share (0 is exact, 1 is useless); of subsets also both changes in each block of hours.
    """
    for truth, found in study.truths.items():
        columns = {"seed": study.seed, "truth": truth, "split": "test"}
        table.add("mse", float(problem.hourly_mse(found.control).mean()), "pu2", method="control", **columns)
        for number, (group, refit) in enumerate(zip(groups, found.refits, strict=False)):
            own = {**columns, "group": number, **_columns(group)}
            table.add("true_change", _change(problem, found.control, refit), "pu2", **own)
            table.add("refit_distance", _distance(problem, refit - found.control), "pu", **own)
            if group.use == "subset":
                for block, change in enumerate(_block_changes(problem, found.control, refit, n_blocks)):
                    table.add("true_block_change", change, "pu2", block=block, **own)
    original = study.truths["scratch"].control
    for kind, outputs in study.noise.items():
        for number, refit in enumerate(outputs):
            own = {"seed": study.seed, "truth": "scratch", "split": "test", "group": number, "use": "noise"}
            table.add("true_change", _change(problem, original, refit), "pu2", selection=kind, **own)
            table.add("refit_distance", _distance(problem, refit - original), "pu", selection=kind, **own)
    for prediction in study.predictions:
        _measure_influence(groups, study, prediction, table)
        _measure_steps(problem, groups, study, prediction, table)


def _measure_influence(groups: Sequence[Group], study: SeedStudy, prediction: Prediction, table: RecordTable) -> None:
    n_hours, n_blocks = study.truths["scratch"].control.shape[0], prediction.scores.shape[1]
    lengths = [last - first for first, last in block_bounds(n_hours, n_blocks)]
    # Blocks count by their length, so that the scores are those of the mean over all hours.
    scores = prediction.scores @ torch.tensor(lengths, dtype=torch.float64) / n_hours
    for number, group in enumerate(groups):
        own = {**_settings(study, prediction), "predictor": "influence", "group": number, **_columns(group)}
        table.add("predicted_change", float(scores[group.rows].sum()), "pu2", **own)
        if group.use == "subset":
            for block, change in enumerate(prediction.scores[group.rows].sum(dim=0)):
                table.add("predicted_block_change", float(change), "pu2", block=block, **own)


def _measure_steps(
    problem: NetworkProblem, groups: Sequence[Group], study: SeedStudy, prediction: Prediction, table: RecordTable
) -> None:
    truths = ("exact",) if prediction.method == "head" else ("scratch", "warm")
    base = study.truths[truths[0]].control
    for number, updated in zip(prediction.stepped, prediction.outputs, strict=True):
        own = {**_settings(study, prediction), "predictor": "newton", "group": number, **_columns(groups[number])}
        solved = bool(updated.isfinite().all())
        table.add("indefinite", float(not solved), "share", **own)
        if not solved:
            continue
        table.add("predicted_change", _change(problem, base, updated), "pu2", **own)
        for truth in truths:
            found = study.truths[truth]
            moved = found.refits[number] - found.control
            left = _distance(problem, updated - base - moved) / _distance(problem, moved)
            table.add("distance_to_refit", left, "share", truth=truth, **own)


def _settings(study: SeedStudy, prediction: Prediction) -> dict[str, object]:
    return {
        "seed": study.seed,
        "method": prediction.method,
        "condition": prediction.condition,
        "damping": prediction.damping,
        "split": "test",
    }


def _columns(group: Group) -> dict[str, object]:
    return {"use": group.use, "selection": group.kind, "proportion": group.share}


def _change(problem: NetworkProblem, before: Tensor, after: Tensor) -> float:
    return float(problem.hourly_mse(after).mean() - problem.hourly_mse(before).mean())


def _block_changes(problem: NetworkProblem, before: Tensor, after: Tensor, n_blocks: int) -> list[float]:
    changes = block_means(problem.hourly_mse(after), n_blocks) - block_means(problem.hourly_mse(before), n_blocks)
    return changes.tolist()


def _distance(problem: NetworkProblem, difference: Tensor) -> float:
    """Root mean square of a difference of forecasts, in p.u."""
    return float((difference * problem.std_pu).square().mean().sqrt())
