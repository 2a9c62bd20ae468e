"""All of the paper: `python -m experiments.paper` (or `make paper`); interrupt it, run it again, it goes on."""

from __future__ import annotations

import time
from pathlib import Path

from experiments.app import experiment, write_card, write_records
from experiments.deviations import deviations
from experiments.endings import Ending
from experiments.paper_jobs import run_all
from experiments.schema import Config
from experiments.tradeoff import costs
from unlearn.grid import load_case
from unlearn.records import read_json, write_parquet
from unlearn.studies.paper.report import save, write_page


@experiment(keeps=lambda config: config.paper.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figures 4 to 9 and `index.html` to `paper.folder`."""
    start = time.perf_counter()
    target = Path(config.paper.folder)
    records, samples, stages = run_all(config)
    records = write_records(config, records, target)
    write_parquet(samples, target / "samples.parquet")
    figures = save(records, target / "figures", samples)
    card = write_card(config, target, seconds=round(time.perf_counter() - start, 1), stages=stages)
    published = read_json(Path(__file__).with_name("published.json"), sealed=False)
    differs = deviations(config, load_case(config.grid.case))
    write_page(records, figures, target / "index.html", published, card, differs)
    kind, protocol = config.paper.forecasters[0], config.paper.protocols[-1]
    own = records[records["forecaster"].eq(kind) & records["protocol"].eq(protocol)]
    return Ending(costs(own), target / "index.html")


if __name__ == "__main__":
    main()
