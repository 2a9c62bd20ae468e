"""What privacy costs: `python -m experiments.private_training generator=private_faraday`.

A generator is trained at several ε; fidelity, utility and attacks are measured beside real training. Interrupt it, run
it again, it goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.app import experiment, write_records
from experiments.private_training_stages import PrivateStudy
from experiments.schema import Config
from unlearn.plotting import save_private_training, summarise_private_training, write_private_training_page


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, figure and page over ε and seeds, and print what they say."""
    records = PrivateStudy(config).records()
    write_records(config, records, folder)
    figure = save_private_training(records, folder / "private_training")
    write_private_training_page(records, figure, folder / "index.html")
    sys.stdout.write("\n".join(summarise_private_training(records)) + "\n")


if __name__ == "__main__":
    main()
