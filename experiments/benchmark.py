"""Peers and ours side by side: `python -m experiments.benchmark`, or parts of it: `'benchmark.parts=[curvature]'`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from experiments.app import experiment, write_records
from experiments.benchmarks.anomaly import time_anomaly
from experiments.benchmarks.any_model import time_influence
from experiments.benchmarks.cold import add_paper_stages, time_cold_start
from experiments.benchmarks.curvature import time_curvature
from experiments.benchmarks.dispatch import time_dispatch
from experiments.benchmarks.feeder import time_feeder
from experiments.benchmarks.scaling import scale_grids, scale_hours
from experiments.benchmarks.tables import PUBLISHED, as_text
from experiments.endings import Ending, number
from experiments.schema import Config
from unlearn.checks import require_choice
from unlearn.records import RecordTable
from unlearn.reporting.style import NOT_A_RESULT
from unlearn.store import write

log = logging.getLogger(__name__)

PARTS = ("dispatch", "curvature", "influence", "scaling", "cold_start", "feeder", "anomaly")


@experiment
def main(config: Config, folder: Path) -> Ending:
    """Time every part, write the records and the tables, and print the tables."""
    for part in config.benchmark.parts:
        require_choice("benchmark.parts", part, PARTS)
    table = RecordTable(experiment="benchmark", seed=config.seed)
    if "dispatch" in config.benchmark.parts:
        time_dispatch(config, table)
    if "curvature" in config.benchmark.parts:
        time_curvature(config, table)
    if "influence" in config.benchmark.parts:
        time_influence(config, table)
    if "scaling" in config.benchmark.parts:
        scale_hours(config, table, folder)
        scale_grids(config, table)
    if "cold_start" in config.benchmark.parts:
        time_cold_start(config, table)
        add_paper_stages(config, table)
    if "feeder" in config.benchmark.parts:
        time_feeder(config, table, folder)
    if "anomaly" in config.benchmark.parts:
        time_anomaly(config, table)
    records = table.to_frame()
    records = write_records(config, records, folder)
    text = as_text(records) + (f"{NOT_A_RESULT}\n" if config.tiny else "")
    write(folder / "benchmark.md", text.encode())
    sys.stdout.write(text)
    own = {"metric": "time_median", "what": "forward + backward", "unit": "us/h"}
    numbers = [
        number("Cost of an hour with its gradient, known regions", records, method="batched", state="warm", **own),
        number("Cost of an hour with its gradient, new regions", records, method="batched", state="cold", **own),
        number("Cost of an hour with its gradient, as published", records, method=PUBLISHED, **own),
    ]
    return Ending(numbers, folder / "benchmark.md")


if __name__ == "__main__":
    main()
