"""The study from its objects: one forecaster under one protocol, stage by stage, each kept with its time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pandas as pd

from unlearn.forecasters.specs import FORECASTERS
from unlearn.records import read_json, read_parquet, write_json, write_parquet
from unlearn.store import Store
from unlearn.studies._shared.measure import METRICS
from unlearn.studies._shared.study import Study
from unlearn.studies.paper.measure import completeness, published_derivative, sensitivity, tradeoff
from unlearn.studies.paper.options import PaperOptions

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
