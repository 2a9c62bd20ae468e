"""Influence and Newton unlearning of the whole network against true refits: `python -m experiments.full_network`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment, write_records
from experiments.full_network_stages import FullNetworkRun
from experiments.schema import Config


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, the figure and the summary."""
    records = FullNetworkRun(config).records()
    write_records(config, records, folder)


if __name__ == "__main__":
    main()
