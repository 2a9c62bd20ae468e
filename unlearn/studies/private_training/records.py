"""What a private generator's card says it spent, as tidy records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unlearn.records import RecordTable


def accounting_records(privacy: Mapping[str, Any], labels: Mapping[str, object] | None = None) -> RecordTable:
    """Turn the section `privacy` of a card into records.

    Args:
        privacy: what `fit_private_faraday` wrote: `parts`, ε by three accountants, δ and N.
        labels: further columns of every record.

    Returns:
        `epsilon_pld`, `epsilon_prv_low`, `epsilon_prv_high`, `epsilon_rdp` (infinite without a promise), `delta`,
        `n_units`; and of each part (column `mechanism_of`) `noise_multiplier`, `sampling_rate`, `steps`, `clip` and
        `epsilon_alone`.
    """
    table = RecordTable(**(labels or {}))
    low, _, high = privacy["epsilon_prv"] or [None] * 3
    spent = {"pld": privacy["epsilon"], "prv_low": low, "prv_high": high, "rdp": privacy["epsilon_rdp"]}
    for accountant, epsilon in spent.items():
        table.add(f"epsilon_{accountant}", np.inf if epsilon is None else epsilon, "1")
    table.add("delta", privacy["delta"], "1")
    table.add("n_units", privacy["n_units"], f"{privacy['unit']}s")
    for part in privacy["parts"]:
        for metric in ("noise_multiplier", "sampling_rate", "steps", "clip", "epsilon_alone"):
            value = part[metric]
            table.add(metric, np.inf if value is None else value, "1", mechanism_of=part["part"])
    return table
