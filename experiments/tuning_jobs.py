"""The cells of `tuning`, in processes of their own: those that share a forecaster one after another; all are kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
from tqdm import tqdm

from experiments.app import Job
from experiments.loads import build_dataset, build_study, many_forecasters, store_of
from experiments.processes import in_processes
from unlearn.data.sources import SOURCES, DataSource, chosen
from unlearn.errors import InputError, SolverError
from unlearn.grid.options import CostOptions
from unlearn.records import joined
from unlearn.store import Store
from unlearn.studies.tuning.cells import Cell, Year, cells_of, years_of
from unlearn.studies.tuning.measure import month_rows, require_validation
from unlearn.studies.tuning.run import measure_cell

log = logging.getLogger(__name__)

#: The grid that is configured where none is asked for.
GRID = CostOptions.case


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
    """Source and year of all data of a run."""
    wanted, sources = job.tuning.years, job.tuning.sources
    if job.data is not None:
        if wanted is None:
            return [(0, getattr(job.data, "year", None))]
        _require_years(job.data, "tuning.years")
        return [(0, year) for year in wanted]
    if job.grid.case not in [GRID, *(source.grid for source in sources)]:
        named = ", ".join(f"{source.grid} for {source.data}" for source in sources)
        raise InputError(
            f"grid={job.grid.case}: expected data for it, got none: tuning.sources name their own grids ({named}). "
            "Pass data=NAME with the grid."
        )
    for source in sources:
        _require_years(chosen(source.data, SOURCES, {}), "tuning.sources")
    return years_of(sources, wanted)


def _require_years(data: DataSource, where: str) -> None:
    if not hasattr(data, "year"):
        named = [name for name in SOURCES if hasattr(SOURCES[name], "year")]
        raise InputError(f"{where}: expected data that has years ({', '.join(named)}), got {data.name}.")


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


def refuse_data(job: Job, cells: Sequence[Cell]) -> None:
    """Read all data before anything is measured, so that what cannot be used is refused at once.

    Raises:
        InputError: a grid with another number of loads, a month without training rows, no validation rows.
        DataError: what a reader refuses.
    """
    years = {(cell.source, cell.year): cell for cell in cells}
    months = {(cell.source, cell.year) for cell in cells if cell.selection == "month"}
    for place, cell in tqdm(years.items(), desc="reading data", leave=False, delay=2):
        own = job_of(job, cell)
        dataset = build_dataset(own, own.grid.build())
        require_validation(dataset)
        if place in months:
            month_rows(dataset, dataset.split.train, job.tuning.month)


def run_all(job: Job) -> pd.DataFrame:
    """Records of all cells; those that were measured before are read, the others are measured `tuning.jobs` at a time.

    Raises:
        InputError: see `cells_of_job` and `refuse_data`.
    """
    cells = cells_of_job(job)
    refuse_data(job, cells)
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.model, []).append(cell)
    # The longest first, so that the last ones to end are short.
    by_length = sorted(groups.values(), key=len, reverse=True)
    found: dict[Cell, pd.DataFrame] = {}
    with tqdm(total=len(cells), desc="cells") as bar:
        for measured in in_processes(partial(run_cells, job), by_length, job.tuning.jobs, job.threads):
            found |= measured
            bar.update(len(measured))
    return joined(found[cell] for cell in cells)


def run_cells(job: Job, cells: Sequence[Cell]) -> dict[Cell, pd.DataFrame]:
    """Measure cells that share a forecaster; finished parts of them are read.

    Raises:
        SolverError: rows that do not determine a head, or a solver that did not end; names the cell.
    """
    own = job_of(job, cells[0])
    base, store, found = build_study(own), store_of(job), {}
    for cell in tqdm(cells, desc=f"{base.dataset.name}, {own.forecaster.name}", leave=False):
        name, start = f"{base.dataset.name}, {cell_name(cell)}", time.perf_counter()
        try:
            with _a_line_a_cell():
                found[cell] = measure_cell(cell, base, job.tuning, store, own.forecaster)
        except SolverError as error:
            raise type(error)(f"{name}: {error}") from error
        log.info("%s: measured in %.1f s", name, time.perf_counter() - start)
    return found


@contextmanager
def _a_line_a_cell() -> Iterator[None]:
    """Do not tell of each part that is kept: there are a thousand."""
    store = logging.getLogger(Store.__module__)
    before = store.level
    store.setLevel(logging.WARNING)
    try:
        yield
    finally:
        store.setLevel(before)


def cell_name(cell: Cell) -> str:
    """A cell as people call it, beside its data."""
    share = "" if cell.selection == "month" else f"{100 * cell.share:g} % "
    return f"{cell.forecaster}, {share}{cell.selection} rows, seed {cell.seed} ({cell.part})"
