"""Who can tell that a household took part in a release? `python -m experiments.attack generator=faraday`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.attack_stages import AttackRun
from experiments.schema import Config
from experiments.together import publish


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, figure and page over the seeds, and print what they say."""
    records = AttackRun(config).records(list(config.synthesis.seeds))
    publish(config, "attack", records, folder)


if __name__ == "__main__":
    main()
