"""From anomaly to unlearning: `python -m experiments.poisoning forecaster=linear`.

Training hours are poisoned, found without the truth, and unlearnt; what that mends is priced on the grid. Interrupt it,
run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.poisoning_stages import PoisoningRun
from experiments.schema import Config
from experiments.together import publish


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, figure and page over attacks, shares, seeds and detectors, and print what they say."""
    publish(config, "poisoning", PoisoningRun(config).records(), folder)


if __name__ == "__main__":
    main()
