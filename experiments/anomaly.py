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
from experiments.schema import Config
from experiments.together import publish


@experiment
def main(config: Config, folder: Path) -> None:
    """Write files of each detector and seed, records, figure and page, and print what they say."""
    run = AnomalyRun(config)
    tables = []
    for judged in run.judged():
        write_outputs(judged, run.measured.rule, folder)
        tables.append(judged.records)
    publish(config, "anomaly", pd.concat(tables, ignore_index=True), folder)


if __name__ == "__main__":
    main()
