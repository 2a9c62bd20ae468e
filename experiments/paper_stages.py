"""The jobs of `paper`: each forecaster under each protocol, stage by stage, resumable."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import torch
from tqdm import tqdm

from experiments.build import build_study
from experiments.schema import Config, ForecasterConfig
from unlearn.evaluation import METRICS, Study, completeness, sensitivity, tradeoff
from unlearn.records import collect, config_hash, read_json, source_fingerprint, write_json, write_parquet

log = logging.getLogger(__name__)

Job = tuple[str, str]
Tables = dict[str, pd.DataFrame]


def parts_folder(config: Config) -> Path:
    """Where the parts of this configuration and source lie; what does not change results is not in its name."""
    settings = {**asdict(config), "source": source_fingerprint()}
    for neutral in ("threads", "models", "records"):
        settings.pop(neutral)
    for neutral in ("jobs", "folder"):
        settings["paper"].pop(neutral)
    return Path(config.paper.folder) / "parts" / config_hash(settings)


def run_all(config: Config, parts: Path) -> None:
    """Run every job that is not done yet, `paper.jobs` at a time, with a bar over the jobs."""
    jobs = [(protocol, kind) for protocol in config.paper.protocols for kind in config.paper.forecasters]
    work = (joblib.delayed(run_job)(config, job, parts) for job in jobs)
    if config.paper.jobs > 1:
        # Bars of several processes would overwrite each other; each tells its finished stages instead.
        os.environ["TQDM_DISABLE"] = "1"
    pool = joblib.Parallel(n_jobs=config.paper.jobs, return_as="generator_unordered")
    for _ in tqdm(pool(work), total=len(jobs), desc="forecasters and protocols"):
        pass
    os.environ.pop("TQDM_DISABLE", None)


def run_job(config: Config, job: Job, parts: Path) -> Job:
    """Run the stages of one forecaster under one protocol; finished ones are skipped."""
    torch.set_num_threads(config.threads)
    if not logging.getLogger().handlers:  # a process of its own starts without any
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    protocol, kind = job
    own = _own_config(config, protocol, kind)
    study: Study | None = None
    for stage, run in _stages(config, kind):
        folder = parts / protocol / kind / stage
        if (folder / "stage.json").is_file():
            continue
        start = time.perf_counter()
        study = study or build_study(own)
        for name, table in run(study).items():
            write_parquet(table.assign(protocol=protocol, forecaster=kind), folder / f"{name}.parquet")
        seconds = time.perf_counter() - start
        # The card comes last: a stage without one is run again.
        card = {"protocol": protocol, "forecaster": kind, "stage": stage, "seconds": seconds}
        write_json(card, folder / "stage.json")
        log.info("%s protocol, %s: %s done in %.0f s", protocol, kind, stage, seconds)
    return job


def gather(parts: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[dict[str, Any]]]:
    """Collect records, samples and stage times of one configuration's parts."""
    samples = pd.concat([pd.read_parquet(file) for file in sorted(parts.rglob("samples.parquet"))])
    stages = [read_json(file) for file in sorted(parts.rglob("stage.json"))]
    return collect([parts]), samples.reset_index(drop=True), stages


def _own_config(config: Config, protocol: str, kind: str) -> Config:
    select_by = config.paper.forecasters[kind]
    return replace(
        config,
        protocol=protocol,
        forecaster=ForecasterConfig(kind, config.forecaster.l2, select_by),
        unlearning=replace(config.unlearning, select_by=select_by),
    )


def _stages(config: Config, kind: str) -> Iterator[tuple[str, Callable[[Study], Tables]]]:
    wanted = config.unlearning
    budgets = wanted.l1_budgets if kind == "linear" else config.paper.l1_budgets_network
    yield "train", _train
    yield "influence", _influence
    yield "completeness", lambda study: {"records": completeness(study, wanted.shares)}
    yield "tradeoff", lambda study: {"records": tradeoff(study, wanted.share, budgets)}
    yield "sensitivity", lambda study: _sensitivity(study, wanted.share, config.evaluation.draw)


def _train(study: Study) -> Tables:
    table = study.records("train")
    for metric, value in study.original.means(study.priced_test_rows).items():
        table.add(metric, value, METRICS[metric], method="original", split="test")
    return {"records": table.to_frame()}


def _influence(study: Study) -> Tables:
    table = study.records("influence")
    for criterion in study.criteria:
        influence = study.influence(criterion)
        table.add("helpful_share", float((influence > 0).mean()), "share", criterion=criterion)
        table.add("influence_std", float(influence.std()), study.criteria[criterion].unit, criterion=criterion)
    return {"records": table.to_frame()}


def _sensitivity(study: Study, share: float, draw: int) -> Tables:
    records, samples = sensitivity(study, share, draw)
    return {"records": records, "samples": samples}
