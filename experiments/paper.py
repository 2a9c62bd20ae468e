"""All of the paper: `python -m experiments.paper` (or `make paper`); interrupt it, run it again, it goes on."""

from __future__ import annotations

import time
from pathlib import Path

from experiments.app import experiment, write_card, write_records
from experiments.deviations import deviations
from experiments.endings import Ending
from experiments.paper_stages import gather, run_all
from experiments.schema import Config
from experiments.tradeoff import costs
from unlearn.grid import load_case
from unlearn.records import read_json, write_parquet
from unlearn.studies.paper.report import save_all, write_report
from unlearn.studies.paper.spread import is_spread, save_spread


@experiment(keeps=lambda config: config.paper.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figures 4 to 9 and `index.html` to `paper.folder`."""
    start = time.perf_counter()
    target = Path(config.paper.folder)
    records, samples, stages = gather(run_all(config))
    records = write_records(config, records, target)
    write_parquet(samples, target / "samples.parquet")
    draw = target / "figures"
    figures = save_spread(records, draw) if is_spread(records) else save_all(records, samples, draw)
    card = write_card(config, target, seconds=round(time.perf_counter() - start, 1), stages=stages)
    published = read_json(Path(__file__).with_name("published.json"), sealed=False)
    write_report(
        records, figures, published, card, deviations(config, load_case(config.grid.case)), target / "index.html"
    )
    kind, protocol = config.paper.forecasters[0], config.paper.protocols[-1]
    own = records[records["forecaster"].eq(kind) & records["protocol"].eq(protocol)]
    return Ending(costs(own), target / "index.html")


if __name__ == "__main__":
    main()
