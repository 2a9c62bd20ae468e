"""Other thresholds for a finished run of `anomaly`: `python -m experiments.thresholds thresholds.run=results/runs/...`.

Reads the kept scores; nothing is fitted again.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.anomaly_stages import SCORES, threshold_rule
from experiments.app import experiment
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.together import publish
from unlearn.errors import InputError
from unlearn.studies.detection.archive import load_archive
from unlearn.studies.detection.measure import measure_thresholds
from unlearn.studies.detection.verdict import named, rule_named


@experiment
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and a page with a slider, and print what they say."""
    own = config.thresholds
    rules = [threshold_rule(rule) for rule in own.rules]
    files = sorted(Path(own.run).rglob(SCORES)) if own.run else []
    if not files:
        raise InputError(
            f"thresholds.run: expected the folder of a finished run of anomaly, with {SCORES} in it, got {own.run!r}. "
            "Run python -m experiments.anomaly first."
        )
    tables = [measure_thresholds(load_archive(file), rules, own.draws, own.steps).to_frame() for file in files]
    records = pd.concat(tables, ignore_index=True)
    page = publish(config, "thresholds", records, folder)
    own = records[records["split"].eq("test") & records["level"].eq("window") & records["rule"].notna()]
    best = own.loc[own[own["metric"] == "f1"]["value"].idxmax()]
    where = {name: best[name] for name in ("detector", "seed", "rule")}
    said = f"{named(best['detector'])}, seed {best['seed']}, {rule_named(best['rule'])}"
    names = {"f1": "F1", "precision": "Precision", "recall": "Recall"}
    numbers = [number(f"{name} of windows, {said}", own, metric=metric, **where) for metric, name in names.items()]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
