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

from experiments.app import Job
from experiments.groups import identity
from experiments.jobs import is_whole
from experiments.loads import build_dataset, build_study, many_forecasters
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
from unlearn.studies._shared.options import SHARES
from unlearn.studies._shared.study import Study
from unlearn.studies.paper.measure import completeness, published_derivative, sensitivity, tradeoff

log = logging.getLogger(__name__)

Tables = dict[str, pd.DataFrame]

#: The card of a stage.
STAGE = "stage.json"


@dataclass(frozen=True)
class Part:
    """One forecaster under one protocol, for one seed and, where the data has years, one year."""

    protocol: str
    forecaster: str
    seed: int
    year: int | None

    def of(self, job: Job) -> Job:
        """The job of this part alone."""
        data = job.data if self.year is None else replace(job.data, year=self.year)
        # Only a run over seeds draws the core anew for each; otherwise split.seed is what was asked for.
        split = job.split if job.paper.seeds is None else replace(job.split, seed=self.seed)
        # Lists of what else is run are no part of this one, so that a longer list reuses what is done.
        paper = replace(job.paper, protocols=(self.protocol,), seeds=None, years=None)
        own = many_forecasters(job)[self.forecaster]
        return replace(own, protocol=self.protocol, seed=self.seed, split=split, data=data, paper=paper)


def parts_of(job: Job) -> list[Part]:
    """All parts of a run; networks first, whose training takes longest, so that the last ones to end are short."""
    paper = job.paper
    if paper.years and not hasattr(job.data, "year"):
        raise InputError(f"paper.years: data={job.data.name} has no years; use gefcom2012 or tx123bt.")
    return [
        Part(protocol, name, seed, year)
        for name in sorted(job.forecaster, key=lambda name: job.forecaster[name].exact)
        for year in paper.years or [None]
        for seed in paper.seeds or [job.seed]
        for protocol in paper.protocols
    ]


def run_all(job: Job) -> list[Path]:
    """Run every job that is not done yet, `paper.jobs` at a time; return the folders of their parts."""
    if job.unlearning.selection not in SHARES:
        raise InputError(
            f"paper sweeps over shares; unlearning.selection={job.unlearning.selection} has none. Use tradeoff."
        )
    parts = parts_of(job)
    # Fingerprints are taken here, once: the source may be edited while the jobs run.
    source = source_fingerprint() + source_fingerprint(Path(__file__).parent)
    work = (joblib.delayed(run_part)(job, part, source) for part in parts)
    if job.paper.jobs > 1:
        # Bars of several processes would overwrite each other; each tells its finished stages instead.
        os.environ["TQDM_DISABLE"] = "1"
    pool = joblib.Parallel(n_jobs=job.paper.jobs, return_as="generator_unordered")
    with _deaf():
        found = pool(work)
    folders = list(tqdm(found, total=len(parts), desc="jobs"))
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


def run_part(job: Job, part: Part, source: str) -> Path:
    """Run the stages of one forecaster under one protocol; finished ones are skipped."""
    torch.set_num_threads(job.threads)
    if not logging.getLogger().handlers:  # a process of its own starts without any
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        tqdm.set_lock(threading.RLock())  # its own would be a semaphore, which a process that is ended leaves behind
    own = part.of(job)
    cost = own.grid.build()
    dataset = build_dataset(own, cost)
    folder = Path(job.paper.folder) / "parts" / part_key(own, source, dataset, cost) / part.protocol / part.forecaster
    study: Study | None = None
    for stage, run in _stages(own):
        done = folder / stage
        if is_whole(done, STAGE):
            continue
        start = time.perf_counter()
        study = study or build_study(own, cost, dataset)
        tables = {f"{name}.parquet": table for name, table in run(study).items()}
        for name, table in tables.items():
            write_parquet(table.assign(protocol=part.protocol, forecaster=part.forecaster), done / name)
        seconds = time.perf_counter() - start
        # The card comes last: a stage without one is run again.
        card = {"protocol": part.protocol, "forecaster": part.forecaster, "seed": part.seed, "data": dataset.name}
        card |= {"stage": stage, "seconds": seconds, FILES: digests(done, tables)}
        write_json(card, done / STAGE)
        log.info(
            "%s, %s protocol, seed %d, %s: %s done in %.1f s",
            dataset.name,
            part.protocol,
            part.seed,
            part.forecaster,
            stage,
            seconds,
        )
    return folder


def part_key(job: Job, source: str, dataset: LoadDataset, cost: OperatingCost) -> str:
    """Name of the parts that may be reused: same settings, code, versions, data and grid."""
    versions = provenance()["versions"]
    made_of = [source, versions, dataset.fingerprint, cost.case.fingerprint]
    return config_hash({**identity(job), "made_of": made_of})


def gather(folders: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame, list[dict[str, Any]]]:
    """Collect records, samples and stage times of the jobs' parts."""
    samples = [read_parquet(folder / "sensitivity" / "samples.parquet") for folder in folders]
    cards = [file for folder in folders for file in sorted(folder.rglob(STAGE))]
    stages = [read_json(file) for file in cards]
    for file, card in zip(cards, stages, strict=True):
        require_files(file.parent, card.pop(FILES), "Run it again.")
    return collect(folders), pd.concat(samples, ignore_index=True), stages


def _stages(job: Job) -> Iterator[tuple[str, Callable[[Study], Tables]]]:
    share, paper = job.unlearning.share, job.paper
    budgets = paper.l1_budgets if job.forecaster.exact else paper.l1_budgets_network
    yield "train", _train
    yield "influence", _influence
    yield "completeness", lambda study: {"records": completeness(study, paper.shares)}
    yield "tradeoff", lambda study: {"records": tradeoff(study, share, budgets)}
    yield "sensitivity", lambda study: _sensitivity(study, share, job.unlearning.draw)
    if job.protocol in paper.derivative_protocols:
        yield "derivative", lambda study: {"records": published_derivative(study, share, budgets)}


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
