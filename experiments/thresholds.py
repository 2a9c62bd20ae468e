"""Other thresholds for a finished run of detection: `python -m experiments.thresholds thresholds.run=results/runs/...`.

Reads the kept scores; nothing is fitted again.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import Job, experiment
from experiments.endings import Ending, number
from unlearn.studies.detection.options import ThresholdsOptions


@experiment(thresholds=ThresholdsOptions)
def main(job: Job, folder: Path) -> Ending:
    """Write records, figure and a page with a slider, and print what they say."""
    from experiments.together import publish
    from unlearn.detectors.base import label_of
    from unlearn.reporting.style import rule_named
    from unlearn.studies.detection.run import try_thresholds

    records = try_thresholds(job.thresholds)
    page = publish(job, "thresholds", records, folder)
    found = records[records["split"].eq("test") & records["level"].eq("window") & records["rule"].notna()]
    best = found.loc[found[found["metric"] == "f1"]["value"].idxmax()]
    where = {name: best[name] for name in ("detector", "seed", "rule")}
    said = f"{label_of(best['detector'])}, seed {best['seed']}, {rule_named(best['rule'])}"
    names = {"f1": "F1", "precision": "Precision", "recall": "Recall"}
    numbers = [number(f"{name} of windows, {said}", found, metric=metric, **where) for metric, name in names.items()]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
