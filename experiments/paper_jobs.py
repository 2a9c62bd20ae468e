"""The parts of `paper`: each forecaster under each protocol, in processes of their own; finished stages are kept."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

from tqdm import tqdm

from experiments.app import Job
from experiments.loads import build_study, many_forecasters, store_of
from experiments.processes import in_processes
from unlearn.errors import InputError
from unlearn.studies._shared.options import SHARES
from unlearn.studies.paper.run import Measured, measure_paper, together


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
        # Only a run over seeds draws the core anew for each; otherwise split.random_state is what was asked for.
        split = job.split if job.paper.seeds is None else replace(job.split, random_state=self.seed)
        own = many_forecasters(job)[self.forecaster]
        return replace(own, protocol=self.protocol, seed=self.seed, split=split, data=data)


def parts_of(job: Job) -> list[Part]:
    """All parts of a run, in the order of their records."""
    paper = job.paper
    if paper.years and not hasattr(job.data, "year"):
        raise InputError(f"paper.years: data={job.data.name} has no years; use bigdeal2022, gefcom2012 or tx123bt.")
    return [
        Part(protocol, name, seed, year)
        for protocol in paper.protocols
        for name in job.forecaster
        for year in paper.years or [None]
        for seed in paper.seeds or [job.seed]
    ]


def run_all(job: Job) -> Measured:
    """Run every part that is not done yet, `paper.jobs` at a time."""
    if job.unlearning.selection not in SHARES:
        raise InputError(
            f"paper sweeps over shares; unlearning.selection={job.unlearning.selection} has none. Use tradeoff."
        )
    parts = parts_of(job)
    # Networks first, whose training takes longest, so that the last ones to end are short.
    by_length = sorted(parts, key=lambda part: bool(job.forecaster[part.forecaster].exact))
    found = in_processes(partial(run_part, job), by_length, job.paper.jobs, job.threads)
    measured = dict(tqdm(found, total=len(parts), desc="jobs"))
    return together(measured[part] for part in parts)


def run_part(job: Job, part: Part) -> tuple[Part, Measured]:
    """Run the stages of one forecaster under one protocol; finished ones are skipped."""
    start = time.perf_counter()
    study = build_study(part.of(job))
    return part, measure_paper(study, job.paper, store_of(job), time.perf_counter() - start)
