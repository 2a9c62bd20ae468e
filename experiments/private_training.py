"""What privacy costs: `python -m experiments.private_training`.

A generator is trained at several ε; fidelity, utility and attacks are measured beside real training. Interrupt it, run
it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.app import experiment
from experiments.endings import Ending, number
from experiments.private_training_stages import PrivateStudy
from experiments.schema import Config
from experiments.together import publish


@experiment(keeps=lambda config: config.synthesis.folder, owner_only=True)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page over ε and seeds, and print what they say."""
    records = PrivateStudy(config).records()
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


if __name__ == "__main__":
    main()
