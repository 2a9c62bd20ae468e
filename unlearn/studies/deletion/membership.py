"""How much a trained forecaster gives away: attacks on its training rows, no deletion involved.

Forecasters are trained on random halves of the head's training rows, so a row of one half and a row of the other are
exchangeable but for having been trained on. For a network this asks of the head alone: the extractor has seen the
core, and no other row.
"""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from unlearn.attacks import (
    fit_heads,
    likelihood_ratio_scores,
    loss_scores,
    measure_attack,
    random_subsets,
    residuals_of,
)
from unlearn.checks import FloatArray
from unlearn.records import RecordTable
from unlearn.studies._shared.study import Study
from unlearn.studies.deletion.options import AuditOptions
from unlearn.studies.deletion.outcomes import add_outcome

#: Rows whose residuals under all shadow models are held at once.
ROWS = 256


def measure_membership(study: Study, options: AuditOptions, table: RecordTable) -> None:
    """Add to the records how well the loss and the likelihood ratio tell training rows from others.

    Args:
        study: forecaster and protocol.
        options: settings; each of the `targets` is a forecaster attacked, each of the `shadows` one that the attacker
            has trained himself.
        table: gets the estimates of each attack, scope "forecaster". On either side a row counts once over
            targets when rows are resampled; that hard rows are on both sides makes intervals wider than they need be.
    """
    objective = study.objective
    design, target = objective.design.numpy(), objective.target.numpy()
    # Shadow models of each kind: every row is in half of them.
    subsets = random_subsets(len(design), options.targets + 2 * options.shadows, 0.5, study.seed)
    heads = fit_heads(design, target, subsets.astype(np.float64), objective.l2)
    scores: dict[str, list[FloatArray]] = {"loss": [], "likelihood_ratio": []}
    for start in tqdm(range(0, len(design), ROWS), desc="rows of the forecaster", leave=False):
        rows = slice(start, start + ROWS)
        residuals = residuals_of(heads, design[rows], target[rows])
        asked, known = np.split(residuals, [options.targets])
        scores["loss"].append(loss_scores(asked))
        member = subsets[options.targets :, rows]
        scores["likelihood_ratio"].append(np.stack([likelihood_ratio_scores(one, known, member) for one in asked]))
    inside = subsets[: options.targets]
    row = np.broadcast_to(np.arange(len(design)), inside.shape)
    for attack, parts in scores.items():
        found = np.concatenate(parts, axis=1)
        outcome = measure_attack(
            found[inside],
            found[~inside],
            unit="row",
            member_group=row[inside],
            other_group=row[~inside],
            fprs=options.row_fprs,
            seed=study.seed,
        )
        add_outcome(table, outcome, attack=attack, scope="forecaster", method="original")
