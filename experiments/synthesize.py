"""Make a release: `python -m experiments.synthesize generator=faraday`, or feeder, simulator, a baseline."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.app import experiment, mark_records, write_records
from experiments.endings import Ending, number
from experiments.internal import comparison_folder, move_log
from experiments.schema import Config
from experiments.schema_synthetic import FeederConfig
from experiments.synthetic_stages import MODEL, PROFILES, SyntheticRun, feeder_config
from unlearn.generators.feeder import SyntheticDataPipeline
from unlearn.households import DailyProfiles, HouseholdProfiles
from unlearn.records import write_parquet
from unlearn.studies.release import feeder_report, report
from unlearn.studies.release.feeder_measure import describe_feeder
from unlearn.studies.release.measure import REAL, describe_release

#: Records that stand in the folder for the owner of the data.
COMPARISON = "comparison.parquet"

log = logging.getLogger(__name__)


@experiment(keeps=lambda config: config.synthesis.folder, releases=True)
def main(config: Config, folder: Path) -> Ending:
    """Write the profiles, the generator, and records, figure and page of the release, which are handed over.

    A private release is described beside its public start. How it compares with real households goes to a folder
    beside this one, whose name ends with `-internal` and which its owner alone may enter, as does the log. The feeder
    generator writes its documented files into `feeder`, too, with a figure and page of their own.
    """
    internal = comparison_folder(folder)
    move_log(folder, internal)
    run = SyntheticRun(config)
    division = run.divide(config.seed)
    release = run.release(division, config.seed)
    kept = run.release_folder(division, config.seed)
    shutil.copyfile(kept / PROFILES, folder / PROFILES)
    if (kept / MODEL).is_dir():
        shutil.copytree(kept / MODEL, folder / MODEL, dirs_exist_ok=True)
    labels = {"data": run.households.name, "seed": config.seed}
    card = run.card(division, config.seed)
    compared = _compare(config, release, division.learnt, labels, internal, card)
    records = describe_release(release, None, labels, run.public(division, config.seed)).to_frame()
    records = write_records(config, records, folder)
    png = report.save(records, folder / "release")
    report.write_page(records, png, folder / "index.html", card, internal.name if compared else None)
    if isinstance(config.generator, FeederConfig):
        _write_feeder(config, config.generator, folder)
    log.info("%d profiles in %s", len(release), folder / PROFILES)
    whole = {"generator": run.kind, "label": None, "at": None, "probability": None}
    names = {"profiles": "Released days", "kwh_per_day": "Mean energy of a day", "zero_share": "Steps that are 0"}
    numbers = [number(name, records, metric=metric, **whole) for metric, name in names.items()]
    return Ending(numbers, folder / "index.html")


def _compare(
    config: Config,
    release: DailyProfiles,
    real: HouseholdProfiles,
    labels: Mapping[str, object],
    folder: Path,
    card: Mapping[str, Any],
) -> bool:
    """Write how a release compares with real households; say whether there are enough of them to say anything."""
    records = describe_release(release, real, labels).to_frame()
    if REAL not in set(records["generator"]):
        log.warning("not compared with real households: of so few, every number would be about single ones")
        return False
    records = mark_records(config, records)
    # Under another name than a run's records, so that no table of many runs takes them in.
    write_parquet(records, folder / COMPARISON)
    report.write_page(records, report.save(records, folder / "release"), folder / "index.html", card)
    return True


def _write_feeder(config: Config, generator: FeederConfig, folder: Path) -> None:
    pipeline = SyntheticDataPipeline(feeder_config(generator, config.seed, folder / "feeder"))
    outputs = pipeline.generate_all()
    pipeline.save_outputs(outputs)
    records = describe_feeder(outputs, {"data": "feeder", "seed": config.seed}).to_frame()
    shown = folder / "feeder_page"
    records = write_records(config, records, shown)
    feeder_report.write_page(records, feeder_report.save(records, shown / "feeder"), shown / "index.html")


if __name__ == "__main__":
    main()
