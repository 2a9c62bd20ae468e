"""Which detector finds anomalies in meter readings: `python -m experiments.anomaly`.

On real households, with every detector (`iforest` and `lof` need the extra `anomaly`):

    python -m experiments.anomaly households=npz households.path=sample.npz \\
      "anomaly.detectors=[level,seasonal,linear,cnn,mixer,ecod,iforest,lof,autoencoder,gan]"

and on labelled buildings with `buildings=lead buildings.path=train.csv`. Detectors are fitted, scored and judged on the
same windows; thresholds come from other buildings than those reported on. Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.anomaly_outputs import write_outputs
from experiments.anomaly_stages import AnomalyRun
from experiments.app import experiment
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.together import publish
from unlearn.studies.detection.verdict import AnomalyTable, named


@experiment(keeps=lambda config: config.anomaly.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write files of each detector and seed, records, figure and page, and print what they say."""
    run = AnomalyRun(config)
    tables = []
    for judged in run.judged():
        write_outputs(judged, run.measured.rule, folder)
        tables.append(judged.records)
    records = pd.concat(tables, ignore_index=True)
    page = publish(config, "anomaly", records, folder)
    rule = AnomalyTable(records).rule
    own = records[records["split"].eq("test") & records["at"].isna() & records["kind"].isna()]
    found = own[own["metric"].eq("f1") & own["level"].eq("window") & own["rule"].eq(rule)]
    best = str(found.groupby("detector")["value"].mean().idxmax())
    numbers = [
        number(f"F1 of windows, {named(best)} (the best)", own, metric="f1", level="window", rule=rule, detector=best),
        number(f"F1 of hours, {named(best)}", own, metric="f1", level="hour", rule=rule, detector=best),
        number(f"PR-AUC of windows, {named(best)}", own, metric="pr_auc", level="window", detector=best),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
