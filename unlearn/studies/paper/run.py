"""The paper's experiments on one forecaster under one protocol: stages that are kept, each with its time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import IntArray
from unlearn.data import remain_rows
from unlearn.errors import InputError
from unlearn.forecasters.specs import FORECASTERS
from unlearn.grid import OperatingCost
from unlearn.records import RecordTable, read_json, read_parquet, write_json, write_parquet
from unlearn.store import Store
from unlearn.studies._shared.study import METRICS, Study
from unlearn.studies.paper.options import PaperOptions
from unlearn.unlearning import Reweighting, newton_update, relative_distance, remain_weights, retrain

_RECORDS, _SAMPLES, _CARD = "records.parquet", "samples.parquet", "stage.json"

#: What measures a stage, and its settings.
_Stage: TypeAlias = tuple[Callable[..., Any], dict[str, Any]]


class Measured(NamedTuple):
    """What was measured.

    Attributes:
        records: of all stages.
        samples: influence of the samples that remain, see `sensitivity`.
        stages: of each stage what it is, and its seconds when it was made.
    """

    records: pd.DataFrame
    samples: pd.DataFrame
    stages: list[dict[str, Any]]


def measure_paper(
    study: Study, options: PaperOptions | None = None, store: Store | None = None, fit_seconds: float = 0.0
) -> Measured:
    """Run the stages of one forecaster under one protocol; those that were run before are taken from the store.

    Args:
        study: forecaster and protocol.
        options: settings; None takes the defaults.
        store: keeps the stages; None keeps them in `results/paper/parts`.
        fit_seconds: what making the study took, which counts as its first stage's.
    """
    store = store or Store("results/paper/parts")

    def kept(stage: str) -> Measured:
        run, own = stages_of(study, options)[stage]

        def make(folder: Path) -> None:
            start = time.perf_counter()
            found = run(study, **own)
            tables = found if isinstance(found, tuple) else (found,)
            labels = {"protocol": study.protocol, "forecaster": study.model.card.kind}
            for name, table in zip((_RECORDS, _SAMPLES), tables, strict=False):
                write_parquet(table.assign(**labels), folder / name)
            seconds = time.perf_counter() - start + (fit_seconds if stage == "train" else 0.0)
            said = {"stage": stage, "seed": study.seed, "data": study.dataset.name, "seconds": seconds}
            write_json({**labels, **said}, folder / _CARD)

        return store.get(make=make, read=_read, **stage_depends(study, options, stage))

    return together(kept(stage) for stage in stages_of(study, options))


def together(parts: Iterable[Measured]) -> Measured:
    """What several studies, or several stages, measured."""
    records, samples, stages = zip(*parts, strict=True)
    drawn = [table for table in samples if len(table)]
    return Measured(
        pd.concat(records, ignore_index=True),
        pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame(),
        [stage for own in stages for stage in own],
    )


def stages_of(
    study: Study, options: PaperOptions | None = None
) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """The stages of a study by name, in their order."""
    options = options or PaperOptions()
    kind = study.model.card.kind
    exact = kind in FORECASTERS and FORECASTERS[kind].exact
    changed = {"share": options.share, "l1_budgets": options.budgets(exact)}
    stages: dict[str, _Stage] = {
        "train": (_train, {}),
        "influence": (_influence, {}),
        "completeness": (completeness, {"shares": options.shares}),
        "tradeoff": (tradeoff, changed),
        "sensitivity": (sensitivity, {"share": options.share, "draw": options.draw}),
    }
    if study.protocol in options.derivative_protocols:
        stages["derivative"] = (published_derivative, changed)
    return stages


def stage_depends(study: Study, options: PaperOptions | None, stage: str) -> dict[str, Any]:
    """Everything that a stage depends on, as the store takes it: longer lists of what else is run reuse it."""
    depends = study.dependencies()
    _, own = stages_of(study, options)[stage]
    return {
        **depends,
        "kind": "paper",
        "name": re.sub(r"\W+", "-", f"{stage}-{study.model.card.kind}-{study.protocol}-{study.seed}"),
        "options": {"study": depends["options"], "stage": stage, **own},
        "code": (measure_paper, *depends["code"]),
    }


def _read(folder: Path) -> Measured:
    samples = read_parquet(folder / _SAMPLES) if (folder / _SAMPLES).is_file() else pd.DataFrame()
    return Measured(read_parquet(folder / _RECORDS), samples, [read_json(folder / _CARD)])


def _train(study: Study) -> pd.DataFrame:
    table = study.records("train")
    for metric, value in study.original.means(study.priced_test_rows).items():
        table.add(metric, value, METRICS[metric], method="original", split="test")
    return table.to_frame()


def _influence(study: Study) -> pd.DataFrame:
    table = study.records("influence")
    for criterion in study.criteria:
        influence = study.influence(criterion)
        table.add("helpful_share", float((influence > 0).mean()), "share", criterion=criterion)
        table.add("influence_std", float(influence.std()), study.criteria[criterion].unit, criterion=criterion)
    return table.to_frame()


def completeness(study: Study, shares: Sequence[float]) -> pd.DataFrame:
    """Unlearn each share completely; measure original, unlearnt and retrained models.

    Args:
        study: forecaster and protocol.
        shares: shares of the head's training rows to remove.

    Returns:
        Records: every metric on the splits remain, unlearn and test for the methods original and
        unlearnt, on test for retrained; and the relative distance of the unlearnt to the retrained
        parameters for each published form of the update.
    """
    if study.selection == "given":
        raise InputError("completeness: shares need a selection that can be ranked or drawn, got given rows.")
    table = study.records("completeness")
    theta = study.model.theta
    for share in tqdm(shares, desc=f"{study.model.card.kind}: complete unlearning", leave=False):
        rows = study.positions(share)
        retrained = retrain(study.objective, rows)
        for form in ("unlearn_gradient", "remain_gradient", "first_order"):
            update = newton_update(study.objective, theta, rows, form, study.ihvp)
            distance = relative_distance(update.theta, retrained)
            table.add("distance_to_retrained", distance, "relative", method=form, proportion=share)
            if form == "unlearn_gradient":
                unlearnt = study.measure(update.theta, study.priced_rows)
                condition = float(update.solution.statistics.get("condition", float("nan")))
                table.add("hessian_condition", condition, "", method=form, proportion=share)
        splits = {
            "remain": study.training_rows[remain_rows(rows, len(study.training_rows))],
            "unlearn": study.training_rows[rows],
            "test": study.priced_test_rows,
        }
        for method, hourly in (("original", study.original), ("unlearnt", unlearnt)):
            for split, chosen in splits.items():
                hourly.add_means(table, chosen, method=method, proportion=share, split=split)
        refit, tested = study.measure(retrained, study.priced_test_rows), study.priced_test_rows
        refit.add_means(table, tested, method="retrained", proportion=share, split="test")
    return table.to_frame()


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


def sensitivity(study: Study, share: float, draw: int = 1000) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every remaining sample on every criterion (eq. 23, Hessian over R).

    Args:
        study: forecaster and protocol.
        share: share of the head's training rows that is removed.
        draw: samples drawn for the figure, half under- and half over-generated.

    Returns:
        Records with the Pearson correlation of each pair of criteria, over the drawn samples
        ("drawn", as published) and over all that remain ("remain"); and a table of samples with
        columns row, over_generated, drawn, and one for each criterion of the study: influences with the
        library's sign, positive where removing the sample makes the criterion worse.
    """
    removed = study.positions(share)
    share = len(removed) / study.objective.n_samples
    weights = remain_weights(study.objective, removed)
    remain = weights.numpy() > 0
    samples = pd.DataFrame({name: study.influence(name, weights)[remain] for name in study.criteria})
    samples.insert(0, "row", study.training_rows[remain])
    samples.insert(1, "over_generated", study.over_generated[remain])
    samples.insert(2, "drawn", False)
    samples.loc[_draw(samples["over_generated"].to_numpy(), draw, study.seed), "drawn"] = True
    table = study.records("sensitivity")
    for split, chosen in (("remain", samples), ("drawn", samples[samples["drawn"]])):
        for first, second in combinations(study.criteria, 2):
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


def tradeoff(
    study: Study, share: float, l1_budgets: Sequence[float], criteria: Sequence[str] | None = None
) -> pd.DataFrame:
    """Remove a share, re-weight the rest for each criterion and budget, measure on the test rows.

    Args:
        study: forecaster and protocol.
        share: share of the head's training rows to remove.
        l1_budgets: values of λ₁; 0 is complete unlearning.
        criteria: what to re-weight for, of the study's criteria; None takes all.

    Returns:
        Records on the split test: every metric of the methods original, retrained and reweighted
        (one row per criterion and budget), with the distance of the parameters to the retrained
        and the original ones.
    """
    table = study.records("tradeoff")
    rows = study.positions(share)
    share = len(rows) / study.objective.n_samples
    theta = study.model.theta
    retrained = retrain(study.objective, rows)
    _add_tradeoff(study, table, theta, retrained, method="original", proportion=share)
    _add_tradeoff(study, table, retrained, retrained, method="retrained", proportion=share)
    jobs = [(criterion, budget) for criterion in criteria or study.criteria for budget in l1_budgets]
    for criterion, budget in tqdm(jobs, desc=f"{study.model.card.kind}: trade-off", leave=False):
        columns = {"method": "reweighted", "criterion": criterion, "proportion": share, "l1_budget": budget}
        program, slope = Reweighting(budget, study.linf_budget), study.gradient(criterion).gradient
        update = program.update(study.objective, theta, rows, slope, study.ihvp)
        _add_tradeoff(study, table, update.theta, retrained, **columns)
    return table.to_frame()


def _add_tradeoff(study: Study, table: RecordTable, theta: Tensor, retrained: Tensor, **columns: object) -> None:
    study.measure(theta, study.priced_test_rows).add_means(table, study.priced_test_rows, split="test", **columns)
    table.add("distance_to_retrained", relative_distance(theta, retrained), "relative", **columns)
    table.add("distance_to_retrained_2norm", float((theta - retrained).norm()), "pu", **columns)
    table.add("distance_to_original", relative_distance(theta, study.model.theta), "relative", **columns)
