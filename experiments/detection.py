"""Which detector finds anomalies in meter readings: `python -m experiments.detection`.

On real households, with every detector (`iforest` and `lof` need the extra `anomaly`):

    python -m experiments.detection households=npz households.path=sample.npz \\
      "detector=[level,seasonal,linear,cnn,mixer,ecod,iforest,lof,autoencoder,gan]"

and on labelled buildings with `buildings=lead buildings.path=train.csv`. Detectors are fitted, scored and judged on the
same windows; thresholds come from other buildings than those reported on. Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.app import Job, experiment
from experiments.endings import Ending, number
from experiments.groups import Group, Section
from unlearn.households.io.sources import OfHouseholds
from unlearn.studies.detection.options import DetectionOptions

if TYPE_CHECKING:
    from unlearn.studies.detection.run import DetectionStudy


@experiment(
    keeps=lambda job: job.detection.folder,
    households=Group("households"),
    buildings=Group("buildings"),
    detector=Group("detector", many=True),
    detection=Section(DetectionOptions, without=("detectors",)),
)
def main(job: Job, folder: Path) -> Ending:
    """Write files of each detector and seed, records, figure and page, and print what they say."""
    import pandas as pd

    from experiments.together import publish
    from unlearn.detectors.base import label_of
    from unlearn.studies.detection.run import write_outputs
    from unlearn.studies.detection.verdict import AnomalyTable

    study = build_detection(job)
    tables = []
    for judged in study.judged():
        write_outputs(judged, study.options.rule, folder)
        tables.append(judged.records)
    records = pd.concat(tables, ignore_index=True)
    page = publish(job, "detection", records, folder)
    rule = AnomalyTable(records).rule
    own = records[records["split"].eq("test") & records["at"].isna() & records["kind"].isna()]
    found = own[own["metric"].eq("f1") & own["level"].eq("window") & own["rule"].eq(rule)]
    best = str(found.groupby("detector")["value"].mean().idxmax())
    said = label_of(best)
    numbers = [
        number(f"F1 of windows, {said} (the best)", own, metric="f1", level="window", rule=rule, detector=best),
        number(f"F1 of hours, {said}", own, metric="f1", level="hour", rule=rule, detector=best),
        number(f"PR-AUC of windows, {said}", own, metric="pr_auc", level="window", detector=best),
    ]
    return Ending(numbers, page)


def build_detection(job: Job) -> DetectionStudy:
    """The study of a job."""
    from unlearn.households.buildings import buildings_of
    from unlearn.households.io.sources import load_buildings, load_households
    from unlearn.studies.detection.run import DetectionStudy

    options = replace(job.detection, detectors=tuple(job.detector.values()))
    own = job.buildings
    if not isinstance(own, OfHouseholds):
        return DetectionStudy(load_buildings(own), options)
    return DetectionStudy(buildings_of(load_households(job.households), own.start, own.end), options, own.injection)


if __name__ == "__main__":
    main()
