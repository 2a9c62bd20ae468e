"""Influence and Newton unlearning of the whole network against true refits: `python -m experiments.full_network`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.app import experiment, write_records
from experiments.build import build_cost, build_dataset, options_of
from experiments.endings import Ending, number
from experiments.jobs import KEPT
from experiments.schema import Config
from unlearn.errors import InputError
from unlearn.forecasters import TrainingOptions
from unlearn.reporting.style import NOT_A_RESULT
from unlearn.store import Store, write
from unlearn.studies.full_network.options import FullNetworkOptions
from unlearn.studies.full_network.report import save, write_page
from unlearn.studies.full_network.run import FullNetworkRun
from unlearn.studies.full_network.verdict import at_chosen_condition, summary


def build_full_network(config: Config) -> FullNetworkRun:
    """The configured run; it refuses what cannot be studied before anything is trained."""
    options = options_of(FullNetworkOptions, config.full_network)
    if config.protocol != "fair":
        raise InputError("full_network: expected protocol=fair, which selects groups by validation rows.")
    dataset, training = build_dataset(config, build_cost(config)), options_of(TrainingOptions, config.training)
    return FullNetworkRun(dataset, options, training, Store(Path(config.full_network.folder, KEPT)), config.split.seed)


@experiment(keeps=lambda config: config.full_network.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write records, the figure, the page and `summary.md`, and print the summary."""
    records = write_records(config, build_full_network(config).records(), folder)
    write_page(records, save(records, folder / "full_network"), folder / "index.html")
    text = summary(records) + (f"\n{NOT_A_RESULT}\n" if config.tiny else "")
    write(folder / "summary.md", text.encode())
    sys.stdout.write(text)
    own = at_chosen_condition(records)
    steps = {"metric": "distance_to_refit", "use": "group"}
    network = {"method": "gauss_newton", "truth": "scratch"}
    numbers = [
        number("Distance to the refit that is left by a Newton step of the head", own, method="head", **steps),
        number("Distance to the refit that is left by a step of the whole network", own, **network, **steps),
        number("Rank correlation (LDS) of the whole network's influence", own, metric="lds", over="seed", **network),
    ]
    return Ending(numbers, folder / "index.html")


if __name__ == "__main__":
    main()
