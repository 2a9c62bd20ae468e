"""From anomaly to unlearning: `python -m experiments.poisoning forecaster=linear`.

Training hours are poisoned, found without the truth, and unlearnt; what that mends is priced on the grid. Interrupt it,
run it again, it goes on.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from experiments.app import experiment
from experiments.build import build_cost, build_dataset, build_model
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.together import publish
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.store import Store
from unlearn.studies.poisoning.options import Poison, PoisonGan, PoisoningOptions
from unlearn.studies.poisoning.run import measure_poisoning


def poisoning_options(config: Config) -> PoisoningOptions:
    """The library's options of the configured sweep."""
    own = {name: tuple(value) if isinstance(value, list) else value for name, value in asdict(config.poisoning).items()}
    del own["folder"]
    gan = PoisonGan(**{**own["gan"], "shares": tuple(own["gan"]["shares"])})
    return PoisoningOptions(**{**own, "attacks": tuple(Poison(**attack) for attack in own["attacks"]), "gan": gan})


def measured(config: Config) -> pd.DataFrame:
    """Records of the configured sweep.

    Raises:
        InputError: names the setting that cannot be measured.
    """
    if config.protocol != "fair":
        raise InputError(
            f"protocol: poisoning needs fair, whose thresholds and gradients see validation hours only, got "
            f"{config.protocol}."
        )
    options, cost = poisoning_options(config), build_cost(config)

    def fitted(seed: int) -> tuple[LoadDataset, Forecaster]:
        own = replace(config, seed=seed, split=replace(config.split, seed=seed))
        dataset = build_dataset(own, cost)
        return dataset, build_model(own, dataset)

    return measure_poisoning(options, fitted, cost, Store(config.poisoning.folder), config.evaluation.hours)


@experiment(keeps=lambda config: config.poisoning.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over attacks, shares, seeds and detectors, and print what they say."""
    records = measured(config)
    page = publish(config, "poisoning", records, folder)
    own, detector = records[records["metric"] == "cost"], config.poisoning.detectors[0]
    after = number(f"Operating cost after unlearning what {detector} flags", own, method="unlearnt", detector=detector)
    before = [number(f"Operating cost, {kind} training data", own, method=kind) for kind in ("clean", "poisoned")]
    return Ending([*before, after], page)


if __name__ == "__main__":
    main()
