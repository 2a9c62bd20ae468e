"""One table of many jobs: after a sweep, or `python -m experiments.collect 'records=[/shared/results]'`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from experiments.app import Job, experiment
from experiments.endings import Ending, Number
from experiments.jobs import CARD, RECORDS, gather, is_closed
from unlearn.errors import UnlearnError
from unlearn.records import collect, write_parquet

log = logging.getLogger(__name__)


class CollectRecords(Callback):
    """Gather the records of a sweep's complete jobs into `table.parquet` in the sweep's folder."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)  # so that a sweep that is interrupted can name its folder

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        try:
            write_table([folder], folder)
        except UnlearnError as error:
            if any(folder.rglob(CARD)) and not any(folder.rglob(RECORDS)):
                log.warning("no table: %s", error)  # of an experiment that writes no records
                return
            log.error("no table: %s", error)
            # Hydra tells errors of callbacks in the log and ends as if nothing had been; an exit goes through.
            raise SystemExit(1) from error


def write_table(folders: Iterable[str | Path], target: Path) -> Ending:
    """Write `table.parquet`: the records of the complete jobs in and below some folders, each job once."""
    jobs = gather(folders)
    table = collect([job / RECORDS for job in jobs])
    file = write_parquet(table, target / "table.parquet")
    if any(is_closed(job) for job in jobs):
        file.chmod(0o600)  # it holds what the closed folders of the jobs hold
    log.info("%d records of %d jobs in %s", len(table), len(jobs), target / "table.parquet")
    numbers = [Number("Runs", len(jobs)), Number("Records", len(table))]
    return Ending([*numbers, Number("Configurations", table["config_hash"].nunique())], target / "table.parquet")


@experiment(records=("results/sweeps",))
def main(job: Job, folder: Path) -> Ending:
    """Gather the folders in `records` (default: all sweeps) into one table in this run's folder."""
    return write_table(job.records, folder)


if __name__ == "__main__":
    main()
