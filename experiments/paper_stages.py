"""The jobs of `paper`: each forecaster under each protocol, stage by stage, resumable."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import torch
from tqdm import tqdm

from experiments.app import identity
from experiments.build import build_cost, build_dataset, build_study
from experiments.jobs import is_whole
from experiments.rows import SHARES, check, refuse_loads_and_forms
from experiments.schema import Config, with_forecaster
from unlearn.checks import require_choice
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.grid import OperatingCost
from unlearn.records import (
    FILES,
    collect,
    config_hash,
    provenance,
    read_json,
    read_parquet,
    source_fingerprint,
    write_json,
    write_parquet,
)
from unlearn.store import digests, require_files
from unlearn.studies._shared.measure import METRICS
from unlearn.studies._shared.study import Study
from unlearn.studies.paper.measure import completeness, published_derivative, sensitivity, tradeoff

log = logging.getLogger(__name__)

Tables = dict[str, pd.DataFrame]

#: The card of a stage.
STAGE = "stage.json"


@dataclass(frozen=True)
class Job:
    """One forecaster under one protocol, for one seed and, where the data has years, one year."""

    protocol: str
    kind: str
    seed: int
    year: int | None

    def configure(self, config: Config) -> Config:
        """The configuration of this job alone."""
        data = config.data if self.year is None else replace(config.data, year=self.year)
        # Only a run over seeds draws the core anew for each; otherwise split.seed is what was asked for.
        split = config.split if config.paper.seeds is None else replace(config.split, seed=self.seed)
        # Lists of what else is run are no part of this job, so that a longer list reuses what is done.
        paper = replace(config.paper, protocols=[self.protocol], forecasters=[self.kind], seeds=None, years=None)
        own = replace(config, protocol=self.protocol, seed=self.seed, split=split, data=data, paper=paper)
        return with_forecaster(own, self.kind)


def jobs_of(config: Config) -> list[Job]:
    """All jobs of a run; networks first, whose training takes longest, so that the last ones to end are short."""
    paper = config.paper
    if paper.years and not hasattr(config.data, "year"):
        raise InputError(f"paper.years: data={config.data.source} has no years; use gefcom2012 or tx123bt.")
    for kind in paper.forecasters:
        require_choice("paper.forecasters", kind, paper.select_by)
    by_length = sorted(paper.forecasters, key=("mixer", "cnn", "linear").index)
    return [
        Job(protocol, kind, seed, year)
        for kind in by_length
        for year in paper.years or [None]
        for seed in paper.seeds or [config.seed]
        for protocol in paper.protocols
    ]


def run_all(config: Config) -> list[Path]:
    """Run every job that is not done yet, `paper.jobs` at a time; return the folders of their parts."""
    check(config)
    refuse_loads_and_forms(config, "paper")
    if config.unlearning.selection not in SHARES:
        raise InputError(f"paper sweeps over shares; unlearning={config.unlearning.selection} has none. Use tradeoff.")
    jobs = jobs_of(config)
    # Fingerprints are taken here, once: the source may be edited while the jobs run.
    source = source_fingerprint() + source_fingerprint(Path(__file__).parent)
    work = (joblib.delayed(run_job)(config, job, source) for job in jobs)
    if config.paper.jobs > 1:
        # Bars of several processes would overwrite each other; each tells its finished stages instead.
        os.environ["TQDM_DISABLE"] = "1"
    pool = joblib.Parallel(n_jobs=config.paper.jobs, return_as="generator_unordered")
    with _deaf():
        found = pool(work)
    folders = list(tqdm(found, total=len(jobs), desc="jobs"))
    os.environ.pop("TQDM_DISABLE", None)
    return sorted(folders)


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that are started here not hear Ctrl-C: this one hears it, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_job(config: Config, job: Job, source: str) -> Path:
    """Run the stages of one forecaster under one protocol; finished ones are skipped."""
    torch.set_num_threads(config.threads)
    if not logging.getLogger().handlers:  # a process of its own starts without any
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        tqdm.set_lock(threading.RLock())  # its own would be a semaphore, which a process that is ended leaves behind
    own = job.configure(config)
    cost = build_cost(own)
    dataset = build_dataset(own, cost)
    parts = Path(config.paper.folder) / "parts" / part_key(own, source, dataset, cost) / job.protocol / job.kind
    study: Study | None = None
    for stage, run in _stages(own, job.kind):
        folder = parts / stage
        if is_whole(folder, STAGE):
            continue
        start = time.perf_counter()
        study = study or build_study(own, cost, dataset)
        tables = {f"{name}.parquet": table for name, table in run(study).items()}
        for name, table in tables.items():
            write_parquet(table.assign(protocol=job.protocol, forecaster=job.kind), folder / name)
        seconds = time.perf_counter() - start
        # The card comes last: a stage without one is run again.
        card = {"protocol": job.protocol, "forecaster": job.kind, "seed": job.seed, "data": dataset.name}
        card |= {"stage": stage, "seconds": seconds, FILES: digests(folder, tables)}
        write_json(card, folder / STAGE)
        log.info(
            "%s, %s protocol, seed %d, %s: %s done in %.1f s",
            dataset.name,
            job.protocol,
            job.seed,
            job.kind,
            stage,
            seconds,
        )
    return parts


def part_key(config: Config, source: str, dataset: LoadDataset, cost: OperatingCost) -> str:
    """Name of the parts that may be reused: same settings, code, versions, data and grid."""
    versions = provenance()["versions"]
    made_of = [source, versions, dataset.fingerprint, cost.case.fingerprint]
    return config_hash({**identity(config), "made_of": made_of})


def gather(folders: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame, list[dict[str, Any]]]:
    """Collect records, samples and stage times of the jobs' parts."""
    samples = [read_parquet(folder / "sensitivity" / "samples.parquet") for folder in folders]
    cards = [file for folder in folders for file in sorted(folder.rglob(STAGE))]
    stages = [read_json(file) for file in cards]
    for file, card in zip(cards, stages, strict=True):
        require_files(file.parent, card.pop(FILES), "Run it again.")
    return collect(folders), pd.concat(samples, ignore_index=True), stages


def _stages(config: Config, kind: str) -> Iterator[tuple[str, Callable[[Study], Tables]]]:
    wanted = config.unlearning
    budgets = wanted.l1_budgets if kind == "linear" else config.paper.l1_budgets_network
    yield "train", _train
    yield "influence", _influence
    yield "completeness", lambda study: {"records": completeness(study, wanted.shares)}
    yield "tradeoff", lambda study: {"records": tradeoff(study, wanted.share, budgets)}
    yield "sensitivity", lambda study: _sensitivity(study, wanted.share, config.evaluation.draw)
    if config.protocol in config.paper.derivative_protocols:
        yield "derivative", lambda study: {"records": published_derivative(study, wanted.share, budgets)}


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
