"""Evidence that a deletion happened: `python -m experiments.unlearning_audit forecaster=linear protocol=fair`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from pathlib import Path

from experiments.app import experiment
from experiments.audit_stages import audited
from experiments.endings import Ending, number
from experiments.rows import refuse_loads_and_forms
from experiments.schema import Config
from experiments.together import publish
from unlearn.studies.deletion.verdict import DECIDING, PLAIN


@experiment(keeps=lambda config: config.unlearning_audit.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write records, figure and page of the configured deletion, and print what they say."""
    refuse_loads_and_forms(config, "unlearning_audit")
    records = audited(config)
    page = publish(config, "unlearning_audit", records, folder)
    told = {"metric": "auc", "attack": DECIDING, "scope": "set", "against": PLAIN}
    left = {"metric": "distance_to_retrained", "against": None}
    numbers = [
        number("AUC by which the original models are told apart", records, method="original", **told),
        number("AUC after complete unlearning", records, method="unlearnt", **told),
        number("Distance to the retrained model after complete unlearning", records, method="unlearnt", **left),
    ]
    return Ending(numbers, page)


if __name__ == "__main__":
    main()
