"""The jobs of `paper`: each forecaster under each protocol, in processes of their own; finished stages are kept."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import torch
from tqdm import tqdm

from experiments.build import build_study, options_of
from experiments.jobs import KEPT
from experiments.rows import SHARES, check, refuse_loads_and_forms
from experiments.schema import Config, with_forecaster
from unlearn.errors import InputError
from unlearn.store import Store
from unlearn.studies.paper.options import PaperOptions
from unlearn.studies.paper.run import Measured, measure_paper, together


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
        own = replace(config, protocol=self.protocol, seed=self.seed, split=split, data=data)
        return with_forecaster(own, self.kind)


def paper_options(config: Config) -> PaperOptions:
    """The library's options of the configured run."""
    unlearning = config.unlearning
    more = {"shares": unlearning.shares, "share": unlearning.share, "l1_budgets": unlearning.l1_budgets}
    return options_of(PaperOptions, config.paper, **more, draw=config.evaluation.draw)


def jobs_of(config: Config) -> list[Job]:
    """All jobs of a run, in the order of their records."""
    paper = paper_options(config)
    if paper.years and not hasattr(config.data, "year"):
        raise InputError(f"paper.years: data={config.data.source} has no years; use gefcom2012 or tx123bt.")
    return [
        Job(protocol, kind, seed, year)
        for protocol in paper.protocols
        for kind in paper.forecasters
        for year in paper.years or [None]
        for seed in paper.seeds or [config.seed]
    ]


def run_all(config: Config) -> Measured:
    """Run every job that is not done yet, `paper.jobs` at a time."""
    check(config)
    refuse_loads_and_forms(config, "paper")
    if config.unlearning.selection not in SHARES:
        raise InputError(f"paper sweeps over shares; unlearning={config.unlearning.selection} has none. Use tradeoff.")
    jobs = jobs_of(config)
    # Networks first, whose training takes longest, so that the last ones to end are short.
    by_length = sorted(jobs, key=lambda job: ("mixer", "cnn", "linear").index(job.kind))
    if config.paper.jobs > 1:
        # Bars of several processes would overwrite each other; each tells its finished stages instead.
        os.environ["TQDM_DISABLE"] = "1"
    pool = joblib.Parallel(n_jobs=config.paper.jobs, return_as="generator_unordered")
    with _deaf():
        found = pool(joblib.delayed(run_job)(config, job) for job in by_length)
    measured = dict(tqdm(found, total=len(jobs), desc="jobs"))
    os.environ.pop("TQDM_DISABLE", None)
    return together(measured[job] for job in jobs)


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that are started here not hear Ctrl-C: this one hears it, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_job(config: Config, job: Job) -> tuple[Job, Measured]:
    """Run the stages of one forecaster under one protocol; finished ones are skipped."""
    torch.set_num_threads(config.threads)
    if not logging.getLogger().handlers:  # a process of its own starts without any
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        tqdm.set_lock(threading.RLock())  # its own would be a semaphore, which a process that is ended leaves behind
    start = time.perf_counter()
    study = build_study(job.configure(config))
    store = Store(Path(config.paper.folder, KEPT))
    return job, measure_paper(study, paper_options(config), store, time.perf_counter() - start)
