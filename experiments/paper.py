"""All of the paper: `python -m experiments.paper` (or `make paper`); interrupt it, run it again, it goes on."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from experiments.app import experiment
from experiments.deviations import deviations
from experiments.paper_stages import gather, parts_folder, run_all
from experiments.schema import Config
from unlearn.plotting import save_all, write_report
from unlearn.records import config_hash, provenance, read_json, write_json, write_parquet


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, figures 4 to 9 and `index.html` to `paper.folder`."""
    start = time.perf_counter()
    target = Path(config.paper.folder)
    parts = parts_folder(config)
    run_all(config, parts)
    records, samples, stages = gather(parts)
    write_parquet(records, target / "records.parquet")
    write_parquet(samples, target / "samples.parquet")
    figures = save_all(records, samples, target / "figures")
    settings = asdict(config)
    card = {
        "config": settings,
        "config_hash": config_hash(settings),
        "seconds": time.perf_counter() - start,
        "stages": stages,
        **provenance(),
    }
    write_json(card, target / "run.json")
    published = read_json(Path(__file__).with_name("published.json"))
    write_report(records, figures, published, card, deviations(config), target / "index.html")


if __name__ == "__main__":
    main()
