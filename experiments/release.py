"""Make a release: `python -m experiments.release generator=faraday`, or feeder, simulator, a baseline."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from experiments.app import Job, experiment, mark_records, write_records
from experiments.endings import Ending, number
from experiments.releases import RELEASES, build_releases

#: Records that stand in the folder for the owner of the data.
COMPARISON = "comparison.parquet"

log = logging.getLogger(__name__)


@experiment(keeps=lambda job: job.synthesis.folder, releases=True, **RELEASES, seed=0)
def main(job: Job, folder: Path) -> Ending:
    """Write the profiles, the generator, and records, figure and page of the release, which are handed over.

    A private release is described beside its public start. How it compares with real households goes to a folder
    beside this one, whose name ends with `-internal` and which its owner alone may enter, as does the log. The feeder
    generator writes its documented files into `feeder`, too, with a figure and page of their own.
    """
    from experiments.jobs import comparison_folder, move_log
    from unlearn.records import write_parquet
    from unlearn.studies._shared.releases import MODEL, PROFILES
    from unlearn.studies.release import feeder_report, report
    from unlearn.studies.release.feeder_measure import describe_feeder
    from unlearn.studies.release.measure import study_release

    internal = comparison_folder(folder)
    move_log(folder, internal)
    made = study_release(build_releases(job), job.generator, job.seed)
    shutil.copyfile(made.folder / PROFILES, folder / PROFILES)
    if (made.folder / MODEL).is_dir():
        shutil.copytree(made.folder / MODEL, folder / MODEL, dirs_exist_ok=True)
        if job.generator.private:  # what is kept is closed; this may be handed over
            for path in (folder / MODEL, *(folder / MODEL).rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
    if made.comparison is None:
        log.warning("not compared with real households: of so few, every number would be about single ones")
    else:
        records = mark_records(job, made.comparison)
        # Under another name than a run's records, so that no table of many runs takes them in.
        write_parquet(records, internal / COMPARISON)
        report.write_page(records, report.save(records, internal / "release"), internal / "index.html", made.card)
    records = write_records(job, made.records, folder)
    beside = None if made.comparison is None else internal.name
    report.write_page(records, report.save(records, folder / "release"), folder / "index.html", made.card, beside)
    if (tables := job.generator.feeder(job.seed, folder / "feeder")) is not None:
        labels, page = {"data": "feeder", "seed": job.seed}, folder / "feeder_page"
        described = write_records(job, describe_feeder(tables, labels).to_frame(), page)
        feeder_report.save(described, page / "feeder")
        feeder_report.write_page(described, page / "feeder.png", page / "index.html")
    log.info("%d profiles in %s", len(made.profiles), folder / PROFILES)
    whole = {"generator": job.generator.name, "label": None, "at": None, "probability": None}
    names = {"profiles": "Released days", "kwh_per_day": "Mean energy of a day", "zero_share": "Steps that are 0"}
    numbers = [number(name, records, metric=metric, **whole) for metric, name in names.items()]
    return Ending(numbers, folder / "index.html")


if __name__ == "__main__":
    main()
