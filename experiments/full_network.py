"""Influence and Newton unlearning of the whole network against true refits: `python -m experiments.full_network`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.app import experiment, write_records
from experiments.endings import Ending, number
from experiments.full_network_stages import FullNetworkRun
from experiments.schema import Config
from unlearn.reporting.style import NOT_A_RESULT
from unlearn.store import write
from unlearn.studies.full_network.report import save, write_page
from unlearn.studies.full_network.verdict import at_chosen_condition, summary


@experiment(keeps=lambda config: config.full_network.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write records, the figure, the page and `summary.md`, and print the summary."""
    records = write_records(config, FullNetworkRun(config).records(), folder)
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
