"""Influence functions and Newton steps of a whole network, against true refits (Basu et al., ICLR 2021).

The truth is a refit without a group of rows: "scratch" from the same initial weights in the same batch order, "warm"
continued from θ* on the rest and compared with continuing on all rows, "exact" for the analytic head. Refits on all
rows in another batch order, or from other or slightly moved initial weights, are the noise floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import short_repr
from unlearn.data import LoadDataset
from unlearn.errors import DataError
from unlearn.records import RecordTable, read_safetensors, write_safetensors
from unlearn.store import Artefact, Store
from unlearn.studies.full_network.curvature import (
    Prediction,
    assess,
    predict_gauss_newton,
    predict_head,
    predict_hessian,
    refit_head,
    selection_scores,
)
from unlearn.studies.full_network.options import FullNetworkOptions
from unlearn.studies.full_network.problem import (
    Group,
    NetworkProblem,
    block_bounds,
    block_means,
    kept_rows,
    plan_groups,
)

#: What a part holds.
_TENSORS = "tensors.safetensors"

#: Settings that say what else is predicted: more conditions need no other refits.
_SWEPT = ("conditions", "hessian_conditions")


class FullNetworkRun:
    """One run: its problem, its groups, and its parts, which the store keeps."""

    def __init__(
        self,
        dataset: LoadDataset,
        options: FullNetworkOptions | None = None,
        store: Store | None = None,
        rows_seed: int = 0,
    ) -> None:
        """Draw the rows, and refuse what cannot be studied.

        Args:
            dataset: data with validation rows, which groups are selected by.
            options: settings; None takes the defaults.
            store: keeps the parts; None keeps them in `results/full_network/parts`.
            rows_seed: of the rows that are drawn.

        Raises:
            InputError: more rows than there are, an unknown architecture, or a split without validation rows.
        """
        self.dataset, self.own = dataset, options or FullNetworkOptions()
        self.store, self.rows_seed = store or Store("results/full_network/parts"), rows_seed
        own = self.own
        self.problem = NetworkProblem.draw(dataset, own.rows, own.architecture, own.training, rows_seed)

    def _depends(self, name: str, condition: float | None) -> dict[str, Any]:
        options = {key: value for key, value in vars(self.own).items() if key not in _SWEPT}
        options["rows_seed"] = self.rows_seed
        return {
            "kind": "full_network",
            "name": name if condition is None else f"{name}-{condition:g}".replace("+", ""),
            "options": {**options, "condition": condition},
            "data": {"train": self.dataset},
            "code": (FullNetworkRun,),
            "packages": ("numpy", "scipy", "torch"),
        }

    def artefact(self, name: str, condition: float | None = None) -> Artefact:
        """A part, kept or not; of predictions, that of one condition number."""
        return self.store.artefact(**self._depends(name, condition))

    def part(
        self, name: str, make: Callable[[], dict[str, Tensor]], condition: float | None = None
    ) -> dict[str, Tensor]:
        """Read a part, or make and keep it."""
        return self.store.get(
            make=lambda folder: write_safetensors(make(), folder / _TENSORS),
            read=lambda folder: read_safetensors(folder / _TENSORS),
            **self._depends(name, condition),
        )

    def missing(self, name: str, condition: float | None = None) -> bool:
        """Whether a part is not kept, or damaged."""
        try:
            self.artefact(name, condition).require_whole()
        except DataError:
            return True
        return False

    @cached_property
    def originals(self) -> Tensor:
        """θ* of every seed, shape (seeds, P)."""
        seeds = self.own.seeds
        everything = torch.ones((len(seeds), self.problem.n_trained), dtype=torch.bool)
        initial = self.problem.initial(seeds)
        return self.part("originals", lambda: {"theta": self.problem.fit(initial, everything, seeds)})["theta"]

    @cached_property
    def groups(self) -> list[Group]:
        """Groups of rows, the same for all seeds; helpful and harmful by the mean score over seeds."""
        own = self.own

        def scores() -> dict[str, Tensor]:
            found = [selection_scores(self.problem, theta, own.selection_condition) for theta in self.originals]
            return {"scores": torch.from_numpy(np.stack(found))}

        mean = self.part("scores", scores)["scores"].mean(dim=0).numpy()
        return plan_groups(mean, own.shares, own.repeats, own.singles, own.subsets)

    def refits(self, name: str, start: Tensor, keep: Tensor, seeds: Sequence[int], warm: bool = False) -> Tensor:
        """Test forecasts of refits, trained `together` at a time and kept as they end; shape (M, hours, B)."""
        training = replace(self.problem.training, epochs=self.own.warm_epochs) if warm else None
        outputs = []
        for first in range(0, len(seeds), self.own.together):
            rows = slice(first, first + self.own.together)

            def fit(rows: slice = rows) -> dict[str, Tensor]:
                # Trained in float32, so nothing is lost.
                return {"theta": self.problem.fit(start[rows], keep[rows], seeds[rows], training).float()}

            theta = self.part(f"{name}-{first}", fit)["theta"].double()
            outputs.append(self.problem.forecasts(theta))
        return torch.cat(outputs)

    def truths(self, seed: int, theta: Tensor) -> dict[str, Truth]:
        keep = kept_rows(self.groups, self.problem.n_trained)
        everything = torch.ones_like(keep[:1])
        (initial,) = self.problem.initial([seed])
        (control,) = self.problem.forecasts(theta[None])
        scratch = self.refits(f"scratch-{seed}", initial.expand(len(keep), -1), keep, [seed] * len(keep))
        n_warm = sum(group.use != "subset" for group in self.groups)
        masks = torch.cat([everything, keep[:n_warm]])
        warm = self.refits(f"warm-{seed}", theta.expand(len(masks), -1), masks, [seed] * len(masks), warm=True)
        heads = refit_head(self.problem, theta, torch.cat([everything, keep]))
        return {
            "scratch": Truth(control, scratch),
            "warm": Truth(warm[0], warm[1:]),
            "exact": Truth(heads[0], heads[1:]),
        }

    def noise(self, seed: int) -> dict[str, Tensor]:
        """Refits on all rows: other orders, other initial weights, initial weights moved a little."""
        count = self.own.noise
        others = [1000 * (seed + 1) + number for number in range(count)]
        (initial,) = self.problem.initial([seed])
        random = torch.Generator().manual_seed(seed)
        moved = 1 + PERTURBATION * torch.randn((count, len(initial)), generator=random, dtype=torch.float64)
        start = torch.cat([initial.expand(count, -1), self.problem.initial(others), initial * moved])
        keep = torch.ones((3 * count, self.problem.n_trained), dtype=torch.bool)
        outputs = self.refits(f"noise-{seed}", start, keep, [*others, *[seed] * (2 * count)])
        return dict(zip(NOISE, outputs.split(count), strict=True))

    def predictions(self, seed: int, theta: Tensor) -> Iterator[Prediction]:
        """Of the network's two curvatures and of the head, each condition kept on disk as it ends."""
        own, problem = self.own, self.problem
        stepped = {i: group.rows for i, group in enumerate(self.groups) if group.use in ("group", "choice")}
        yield predict_head(problem, theta, stepped, own.blocks)
        for method, predict, conditions in (
            ("gauss_newton", predict_gauss_newton, own.conditions),
            ("hessian", predict_hessian, own.hessian_conditions),
        ):
            name = f"{method}-{seed}"
            missing = [condition for condition in conditions if self.missing(name, condition)]
            made = predict(problem, theta, stepped, missing, own.blocks) if missing else iter(())
            for condition in conditions:
                kept = self.part(name, partial(_next_of, made, condition), condition)
                damping = float(kept["damping"])
                yield Prediction(method, condition, damping, kept["scores"], list(stepped), kept["outputs"])

    def records(self) -> pd.DataFrame:
        """Make what is missing and measure everything."""
        common = {"experiment": "full_network", "data": self.dataset.name, "forecaster": self.own.architecture}
        table = RecordTable(**common, protocol="fair")
        for seed, theta in tqdm(list(zip(self.own.seeds, self.originals, strict=True)), desc="seeds"):
            truths, noise = self.truths(seed, theta), self.noise(seed)
            study = SeedStudy(seed, truths, noise, list(self.predictions(seed, theta)))
            measure_seed(self.problem, self.groups, study, self.own.blocks, table)
        table.add("rows", self.problem.n_trained, "rows")
        assess(table.to_frame(), table)
        return table.to_frame()


def _next_of(predictions: Iterator[Prediction], condition: float) -> dict[str, Tensor]:
    """The prediction of a condition number; those before it, another process has kept meanwhile."""
    prediction = next(one for one in predictions if one.condition == condition)
    damping = torch.tensor(prediction.damping, dtype=torch.float64)
    return {"damping": damping, "scores": prediction.scores, "outputs": prediction.outputs}


#: Refits on all rows: the same weights in another order, other weights, and weights moved by `PERTURBATION`.
NOISE = ("order", "initial", "nudged")
PERTURBATION = 1e-6


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
