"""Evidence that a deletion happened: `python -m experiments.unlearning_audit forecaster=linear protocol=fair`.

Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from experiments.app import experiment
from experiments.build import build_study
from experiments.endings import Ending, number
from experiments.rows import refuse_loads_and_forms
from experiments.schema import Config
from experiments.together import publish
from unlearn.store import Store
from unlearn.studies.deletion.measure import Audit
from unlearn.studies.deletion.options import AuditOptions
from unlearn.studies.deletion.verdict import DECIDING, PLAIN


def audit_options(config: Config) -> AuditOptions:
    """The library's options of the configured audit."""
    own = {name: value for name, value in asdict(config.unlearning_audit).items() if name != "folder"}
    own |= {name: tuple(own[name]) for name in ("criteria", "fprs", "row_fprs")}
    return AuditOptions(**own, l1_budgets=tuple(config.unlearning.l1_budgets))


def audited(config: Config) -> pd.DataFrame:
    """Records of all parts of the configured audit; those that were measured before are read."""
    options = audit_options(config)  # refused before anything is fitted
    audit = Audit(build_study(config), config.unlearning.share, options)
    return audit.kept_records(Store(config.unlearning_audit.folder))


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
