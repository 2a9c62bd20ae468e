"""Make a release: `python -m experiments.synthesize generator=faraday`, or feeder, simulator, a baseline."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from experiments.app import experiment, write_records
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.schema_synthetic import FeederConfig
from experiments.synthetic_stages import MODEL, PROFILES, SyntheticRun, feeder_config
from unlearn.evaluation import describe_feeder, describe_release
from unlearn.plotting import save_feeder, save_release, write_feeder_page, write_release_page
from unlearn.synthetic.feeder import SyntheticDataPipeline

log = logging.getLogger(__name__)


@experiment(keeps=lambda config: config.synthesis.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write the profiles, the generator, and records, figure and page that show the release beside real households.

    The feeder generator writes its documented files into `feeder`, too, with a figure and page of their own.
    """
    run = SyntheticRun(config)
    division = run.divide(config.seed)
    release = run.release(division, config.seed)
    kept = run.release_folder(division, config.seed)
    shutil.copyfile(kept / PROFILES, folder / PROFILES)
    if (kept / MODEL).is_dir():
        shutil.copytree(kept / MODEL, folder / MODEL, dirs_exist_ok=True)
    labels = {"data": run.households.name, "seed": config.seed}
    # The page goes with the release: no day of a real customer is on it, only means and quantiles.
    records = describe_release(release, division.learnt, labels, real_examples=False).to_frame()
    records = write_records(config, records, folder)
    save_release(records, folder / "release")
    write_release_page(records, folder / "release.png", folder / "index.html", run.card(division, config.seed))
    if isinstance(config.generator, FeederConfig):
        _write_feeder(config, config.generator, folder)
    log.info("%d profiles in %s", len(release), folder / PROFILES)
    whole = {"generator": run.kind, "label": None, "at": None, "probability": None}
    names = {"profiles": "Released days", "kwh_per_day": "Mean energy of a day", "zero_share": "Steps that are 0"}
    numbers = [number(name, records, metric=metric, **whole) for metric, name in names.items()]
    return Ending(numbers, folder / "index.html")


def _write_feeder(config: Config, generator: FeederConfig, folder: Path) -> None:
    pipeline = SyntheticDataPipeline(feeder_config(generator, config.seed, folder / "feeder"))
    outputs = pipeline.generate_all()
    pipeline.save_outputs(outputs)
    records = describe_feeder(outputs, {"data": "feeder", "seed": config.seed}).to_frame()
    records = write_records(config, records, folder / "feeder_page")
    save_feeder(records, folder / "feeder_page" / "feeder")
    write_feeder_page(records, folder / "feeder_page" / "feeder.png", folder / "feeder_page" / "index.html")


if __name__ == "__main__":
    main()
