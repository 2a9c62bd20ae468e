"""The cells of `tuning`, in processes of their own: those that share a network one after another; all are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
from tqdm import tqdm

from experiments.app import Job
from experiments.loads import build_study, many_forecasters, store_of
from experiments.processes import in_processes
from unlearn.data.sources import SOURCES, chosen
from unlearn.errors import InputError
from unlearn.records import joined
from unlearn.studies.tuning.cells import Cell, Year, cells_of, years_of
from unlearn.studies.tuning.run import measure_cell


def cells_of_job(job: Job) -> list[Cell]:
    """All cells of a run, in the order of their records.

    Raises:
        InputError: a protocol without validation rows, years that the data does not have, a grid without its data, or
            nothing to measure.
    """
    if job.protocol != "fair":
        raise InputError(
            f"tuning: expected protocol=fair, got {job.protocol}: one of the tunings is chosen on validation rows, and "
            "test rows are only reported."
        )
    exact = {name: own.exact for name, own in job.forecaster.items()}
    return cells_of(job.tuning, _years(job), exact)


def _years(job: Job) -> list[tuple[int, Year]]:
    sources = job.tuning.sources
    if job.data is None:
        if job.grid.case not in {source.grid for source in sources} and sources:
            named = ", ".join(f"{source.grid} for {source.data}" for source in sources)
            raise InputError(
                f"grid={job.grid.case}: expected data for it, got none: tuning.sources name their own, {named}. Pass "
                "data=NAME with the grid."
            )
        return list(years_of(sources, job.tuning.years))
    if not job.tuning.years:
        return [(0, getattr(job.data, "year", None))]
    if not hasattr(job.data, "year"):
        raise InputError(f"tuning.years: data={job.data.name} has no years. Leave tuning.years out.")
    return [(0, year) for year in job.tuning.years]


def job_of(job: Job, cell: Cell) -> Job:
    """The job that fits the forecaster of a cell."""
    own: Any = many_forecasters(job)[cell.forecaster]
    data, grid = job.data, job.grid
    if data is None:
        source = job.tuning.sources[cell.source]
        data, grid = chosen(source.data, SOURCES, {}), replace(grid, case=source.grid)
    if cell.year is not None:
        data = replace(data, year=cell.year)
    # The core is drawn anew for each seed; where there is none, data and forecaster are the same for all.
    split = job.split if own.forecaster.exact else replace(job.split, random_state=cell.seed)
    return replace(own, data=data, grid=grid, split=split, seed=cell.seed)


def run_all(job: Job) -> pd.DataFrame:
    """Records of all cells; those that were measured before are read, the others are measured `tuning.jobs` at a time.

    Raises:
        InputError: see `cells_of_job`.
    """
    cells = cells_of_job(job)
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        # A network is trained once for all cells that share it; what is solved exactly costs nothing to fit again.
        groups.setdefault(cell if job.forecaster[cell.forecaster].exact else cell.model, []).append(cell)
    # The longest first, so that the last ones to end are short.
    by_length = sorted(groups.values(), key=len, reverse=True)
    found: dict[Cell, pd.DataFrame] = {}
    with tqdm(total=len(cells), desc="cells") as bar:
        for measured in in_processes(partial(run_cells, job), by_length, job.tuning.jobs, job.threads):
            found |= measured
            bar.update(len(measured))
    return joined(found[cell] for cell in cells)


def run_cells(job: Job, cells: Sequence[Cell]) -> dict[Cell, pd.DataFrame]:
    """Measure cells that share a forecaster; finished parts of them are read."""
    own = job_of(job, cells[0])
    base = build_study(own)
    return {
        cell: measure_cell(cell, base, job.tuning, store_of(job), own.forecaster)
        for cell in tqdm(cells, desc=f"{base.dataset.name}, {cells[0].forecaster}", leave=False)
    }
