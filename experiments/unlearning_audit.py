"""Evidence that a deletion happened: `python -m experiments.unlearning_audit forecaster=linear protocol=fair`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.app import experiment, write_records
from experiments.audit_stages import audited
from experiments.rows import refuse_loads_and_forms
from experiments.schema import Config
from unlearn.plotting import save_deletion, summarise_deletion, write_deletion_page


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, figure and page of the configured deletion, and print what they say."""
    refuse_loads_and_forms(config, "unlearning_audit")
    records = audited(config)
    write_records(config, records, folder)
    figure = save_deletion(records, folder / "unlearning_audit")
    write_deletion_page(records, figure, folder / "index.html")
    sys.stdout.write("\n".join(summarise_deletion(records)) + "\n")


if __name__ == "__main__":
    main()
