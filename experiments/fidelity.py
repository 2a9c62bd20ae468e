"""How far a release is from real households: `python -m experiments.fidelity generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from experiments.app import experiment
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.synthetic_stages import SyntheticRun
from experiments.together import publish
from unlearn.studies.fidelity.measure import compare_fidelity
from unlearn.studies.fidelity.records import REAL
from unlearn.studies.fidelity.samples import FidelityOptions


@experiment(keeps=lambda config: config.synthesis.folder, owner_only=True)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over the seeds, and print what they say."""
    run = SyntheticRun(config)
    settings = {name: value for name, value in asdict(config.fidelity).items() if name not in ("beside", "hourly")}
    options = FidelityOptions(**settings)
    kinds = [None, *(kind for kind in config.fidelity.beside if kind != run.kind)]

    def measured(seed: int) -> pd.DataFrame:
        division = run.divide(seed)
        learnt, compared = division.learnt, division.compared
        releases = [run.release(division, seed, kind) for kind in kinds]
        if config.fidelity.hourly:
            learnt, compared = learnt.to_hourly(), compared.to_hourly()
            releases = [release.to_hourly() for release in releases]
        key = {"options": asdict(options), "seed": seed, "releases": [release.fingerprint for release in releases]}
        key |= {"names": [release.name for release in releases], "learnt": learnt.fingerprint}
        return run.kept_records(
            "fidelity",
            {**key, "compared": compared.fingerprint},
            lambda: compare_fidelity(
                releases, learnt, compared, options, seed, {"data": run.households.name}
            ).to_frame(),
        )

    records = pd.concat([measured(seed) for seed in config.synthesis.seeds], ignore_index=True)
    page = publish(config, "fidelity", records, folder)
    floor = {"metric": "headline", "scope": "all", "reference": "floor"}
    numbers = [
        number(f"Distances of {run.kind} to real households, in floors", records, generator=run.kind, **floor),
        number(f"AUC of a classifier of {run.kind} against real days", records, metric="auc", generator=run.kind),
        number("AUC of a classifier of real days against real days", records, metric="auc", generator=REAL),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
