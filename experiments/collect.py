"""After a sweep: the records of all its jobs in one table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from unlearn.records import collect, write_parquet

log = logging.getLogger(__name__)


class CollectRecords(Callback):
    """Gather each job's `records.parquet` into `table.parquet` in the sweep's folder."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        if not any(folder.rglob("records.parquet")):
            log.warning("no job of %s wrote records", folder)
            return
        table = collect([folder])
        write_parquet(table, folder / "table.parquet")
        log.info("%d records of all jobs in %s", len(table), folder / "table.parquet")
