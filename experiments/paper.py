"""All of the paper: `python -m experiments.paper` (or `make paper`); interrupt it, run it again, it goes on."""

from __future__ import annotations

import time
from pathlib import Path

from experiments.app import Job, experiment, write_card, write_records
from experiments.endings import Ending
from experiments.groups import Section
from experiments.loads import FORECASTERS
from experiments.tradeoff import costs
from unlearn.linalg.options import IhvpOptions
from unlearn.studies._shared.options import SelectionOptions
from unlearn.studies.paper.options import PaperOptions


@experiment(
    keeps=lambda job: job.store,
    **FORECASTERS,
    ihvp=IhvpOptions,
    unlearning=Section(SelectionOptions, without=("share",)),
    paper=PaperOptions,
)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figures 4 to 9 and `index.html` to `paper.folder`."""
    from experiments.committed import committed_section
    from experiments.deviations import deviations
    from experiments.paper_jobs import run_all
    from unlearn.grid import load_case
    from unlearn.records import read_json, write_parquet
    from unlearn.studies.paper.report import save, write_page

    start = time.perf_counter()
    target = Path(job.paper.folder)
    more = committed_section()  # before the long run, which damaged records would end
    records, samples, stages = run_all(job)
    records = write_records(job, records, target)
    write_parquet(samples, target / "samples.parquet")
    figures = save(records, target / "figures", samples)
    card = write_card(job, target, seconds=round(time.perf_counter() - start, 1), stages=stages)
    published = read_json(Path(__file__).with_name("published.json"), sealed=False)
    differs = deviations(job, load_case(job.grid.case))
    write_page(records, figures, target / "index.html", published, card, differs, more)
    name, protocol = next(iter(job.forecaster)), job.paper.protocols[-1]
    own = records[records["forecaster"].eq(name) & records["protocol"].eq(protocol)]
    return Ending(costs(own), target / "index.html")


if __name__ == "__main__":
    main()
