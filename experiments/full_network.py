"""Influence and Newton unlearning of the whole network against true refits: `python -m experiments.full_network`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.app import experiment, write_records
from experiments.full_network_stages import FullNetworkRun
from experiments.schema import Config
from unlearn.plotting import save_full_network, summary, write_full_network_page
from unlearn.records import write_atomically


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, the figure, the page and `summary.md`, and print the summary."""
    records = FullNetworkRun(config).records()
    write_records(config, records, folder)
    save_full_network(records, folder / "full_network")
    write_full_network_page(records, folder / "full_network.png", folder / "index.html")
    text = summary(records)
    write_atomically(folder / "summary.md", lambda file: file.write_text(text, encoding="utf-8"))
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
