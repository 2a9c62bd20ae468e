"""What privacy costs: `python -m experiments.private_training`.

A generator is trained at several ε; fidelity, utility and attacks are measured beside real training. Interrupt it, run
it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.app import experiment
from experiments.build import build_cost, build_generator, build_releases, options_of
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.together import publish
from unlearn.studies._shared.fidelity.options import FidelityOptions
from unlearn.studies._shared.leakage.options import LeakageOptions
from unlearn.studies._shared.utility.options import UtilityOptions
from unlearn.studies.private_training.measure import PrivateTraining
from unlearn.studies.private_training.options import HouseholdLoadOptions, OverfitOptions, PrivateTrainingOptions


@experiment(keeps=lambda config: config.synthesis.folder, owner_only=True)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over ε and seeds, and print what they say."""
    records = build_private_training(config).records()
    page = publish(config, "private_training", records, folder)
    least = min(np.inf if epsilon is None else epsilon for epsilon in config.private_training.epsilons)
    own = records[(records["epsilon"] == least) & ~records["method"].isin(("start", "not private"))]
    floor = {"generator": own["method"].iloc[0], "metric": "headline", "scope": "all", "reference": "floor"}
    households = {"part": "attack", "metric": "auc", "unit_attacked": "household"}
    numbers = [
        number(f"ε that is spent where {least:g} is asked for", own, metric="epsilon_pld"),
        number(f"Distances to real households at ε = {least:g}, in floors", own, part="fidelity", **floor),
        number(f"AUC of attacks on households at ε = {least:g}", own, **households),
    ]
    return Ending(numbers, page)


def build_private_training(config: Config) -> PrivateTraining:
    """The configured study; it refuses what cannot be run before anything is trained."""
    own, more = config.private_training, {"training": config.training, "hours": config.evaluation.hours}
    utility = options_of(UtilityOptions, config.utility, tasks=own.tasks, forecasters=own.forecasters, **more)
    options = PrivateTrainingOptions(
        epsilons=tuple(own.epsilons),
        fidelity=options_of(FidelityOptions, config.fidelity),
        utility=utility,
        leakage=options_of(LeakageOptions, attacks=own.attacks, max_profiles=own.max_profiles, attributes=[]),
        overfit=options_of(OverfitOptions, own.overfit),
        forecast=options_of(HouseholdLoadOptions, own.forecast),
    )
    cost = build_cost(config) if "load" in options.utility.tasks or options.forecast.forecasters else None
    return PrivateTraining(build_releases(config), build_generator(config), cost, options, config.seed)


if __name__ == "__main__":
    main()
