"""What privacy costs: `python -m experiments.private_training generator=private_faraday`.

A generator is trained at several ε; fidelity, utility and attacks are measured beside real training. Interrupt it, run
it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.private_training_stages import PrivateStudy
from experiments.schema import Config
from experiments.together import publish


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, figure and page over ε and seeds, and print what they say."""
    publish(config, "private_training", PrivateStudy(config).records(), folder)


if __name__ == "__main__":
    main()
