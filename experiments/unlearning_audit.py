"""Evidence that a deletion happened: `python -m experiments.unlearning_audit forecaster=linear protocol=fair`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.audit_stages import audited
from experiments.rows import refuse_loads_and_forms
from experiments.schema import Config
from experiments.together import publish


@experiment
def main(config: Config, folder: Path) -> None:
    """Write records, figure and page of the configured deletion, and print what they say."""
    refuse_loads_and_forms(config, "unlearning_audit")
    publish(config, "unlearning_audit", audited(config), folder)


if __name__ == "__main__":
    main()
