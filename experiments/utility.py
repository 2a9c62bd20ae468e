"""What a release is good for: train on it, test on real households: `python -m experiments.utility generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from experiments.app import experiment
from experiments.build import build_cost
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.synthetic_stages import SyntheticRun, utility_options
from experiments.together import publish
from unlearn.studies.utility.measure import measure_utility


@experiment(keeps=lambda config: config.synthesis.folder, owner_only=True)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over the seeds, and print what they say."""
    run = SyntheticRun(config)
    options = utility_options(config)
    cost = build_cost(config) if "load" in options.tasks else None
    labels = {"experiment": "utility", "data": run.households.name, "grid": config.grid.case}
    kinds = [None, *(kind for kind in config.utility.beside if kind != run.kind)]

    def measured(seed: int) -> pd.DataFrame:
        division = run.divide(seed)
        releases = [run.release(division, seed, kind) for kind in kinds]
        key = {"options": asdict(options), "grid": asdict(config.grid), "seed": seed}
        # The name of a case stays when somebody changes its file.
        key["case"] = cost.case.fingerprint if cost else None
        key |= {release.name: release.fingerprint for release in releases}
        return run.kept_records(
            "utility",
            {**key, "train": division.train.fingerprint, "holdout": division.holdout.fingerprint},
            lambda: measure_utility(releases, division.train, division.holdout, cost, options, seed, labels).to_frame(),
        )

    records = pd.concat([measured(seed) for seed in config.synthesis.seeds], ignore_index=True)
    page = publish(config, "utility", records, folder)
    own = records[records["generator"] == run.kind]
    numbers = [
        number(f"Operating cost after training on {run.kind}", own, task="load", metric="cost"),
        number(f"Balanced accuracy of seasons after training on {run.kind}", own, metric="balanced_accuracy"),
        number(f"RMSE of the next step after training on {run.kind}", own, task="next_step", metric="rmse"),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
