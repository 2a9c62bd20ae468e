"""What utilities gain by learning together, and whether they can leave again, in sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from unlearn.reporting.verdict import NO, UNCLEAR, YES, Block, Page, answer_rows, counted, write
from unlearn.studies.federated.claims import SAME, claims, gap_text
from unlearn.studies.federated.options import ALONE, FEDERATED, HALF_BACK, LINEAR, SINGLE, SUM
from unlearn.studies.federated.rows import (
    averaging_rows,
    difference_rows,
    exact_rows,
    inversion_rows,
    pilot_rows,
    spent_rows,
    traffic_rows,
    unlearning_rows,
    wrong_rows,
)
from unlearn.studies.federated.table import FederatedTable
from unlearn.studies.federated.texts import (
    AVERAGING_NOTE,
    DIFFERENCE_NOTE,
    EXACT_NOTE,
    INVERSION_NOTE,
    LIMITS,
    MEASURED,
    PILOT_NOTE,
    SPENT_NOTE,
    TRAFFIC_NOTE,
    UNLEARNING_NOTE,
    WRONG_NOTE,
)

QUESTION = "Can utilities learn together without pooling data, and leave again?"


def page(records: pd.DataFrame, figures: Mapping[str, Any] | None = None) -> Page:
    """The page's contents.

    Args:
        records: of `study_federated`.
        figures: figures or PNG files by the names of `unlearn.studies.federated.report.FIGURES`.
    """
    table = FederatedTable(records)
    said = captions(table)
    shown = {name: [(said[name], file)] for name, file in (figures or {}).items()}
    return Page(
        QUESTION,
        answer(table),
        because(table),
        about(table),
        said["unlearning"],
        [
            Block("Claims", rows=answer_rows(claims(table), "claim"), texts=3),
            Block("Who leaves, and what is left", figures=shown.get("unlearning", []), rows=unlearning_rows(table),
                  texts=3, note=UNLEARNING_NOTE),
            Block("One secure sum", rows=exact_rows(table), texts=2, note=EXACT_NOTE),
            Block("Averaging of the Mixer", figures=shown.get("averaging", []), rows=averaging_rows(table),
                  note=AVERAGING_NOTE),
            Block("When a member goes wrong", rows=wrong_rows(table), note=WRONG_NOTE),
            Block("Load windows from updates", figures=shown.get("inversion", []), rows=inversion_rows(table), texts=1,
                  note=INVERSION_NOTE),
            Block("ε when members drop out", figures=shown.get("privacy", []), rows=spent_rows(table), texts=1,
                  note=SPENT_NOTE),
            Block("Who has an electric car", rows=pilot_rows(table), note=PILOT_NOTE),
            Block("What two totals tell", rows=difference_rows(table), texts=1, note=DIFFERENCE_NOTE),
            Block("Who saw what", rows=traffic_rows(table), texts=2, note=TRAFFIC_NOTE),
        ],
        measured=MEASURED,
        limits=LIMITS,
        internal=True,
    )  # fmt: skip


def summarise(records: pd.DataFrame) -> list[str]:
    """What was measured, the answer, and what became of each claim, as sentences."""
    table = FederatedTable(records)
    return [about(table), page(records).said, *map(str, claims(table))]


def about(table: FederatedTable) -> str:
    """What was measured on what."""
    return (
        f"{table.setting('households'):.0f} households of {table.about['data']} divided among "
        f"{counted(table.setting('utilities'), 'utility')}, each with "
        f"{counted(table.setting('feeders'), 'feeder')} at a {table.about['grid']} of its own; "
        f"{table.setting('hours_train'):,.0f} hours to learn from and {table.setting('hours_test'):,.0f} to test on; "
        f"{counted(table.seeds, 'seed')}; means over utilities, with the range of seeds."
    )


def answer(table: FederatedTable) -> str:
    """Yes where the federated model is the pooled one, and whoever leaves leaves the never-joined model behind."""
    found = [own <= SAME for own in (table.pooled_distance, table.exact_distance) if np.isfinite(own)]
    return (YES if all(found) else NO) if found else UNCLEAR


def because(table: FederatedTable) -> str:
    """The rest of the sentence that the page opens with."""
    parts = []
    if np.isfinite(table.pooled_distance):
        own = {"forecaster": LINEAR}
        gain = table.gap("exact", "cost", {**own, "method": FEDERATED}, {**own, "method": ALONE})
        parts.append(
            f"least squares of one secure sum is the pooled model to {table.pooled_distance:.1g}"
            + (f", cost {gap_text(gain)} against each utility alone" if gain else "")
        )
    if np.isfinite(table.exact_distance):
        half = table.spread("unlearning", "distance", method=HALF_BACK)
        parts.append(
            f"after a withdrawal it is the never-joined model to {table.exact_distance:.1g}"
            + (
                f", to which an averaged Mixer comes by repeating all rounds since the leaver joined; half of them end "
                f"{half.text('.2g')} away"
                if half
                else ""
            )
        )
    if gap := table.to_pooled("mse"):
        parts.append(f"the Mixer by federated averaging against pooled training: MSE {gap_text(gap)}")
    single, summed = table.by_batch(SINGLE), table.by_batch(SUM)
    if single and summed:
        parts.append(
            f"a load window is reconstructed from an update with {single[0][1].text('.2g')} times the error of "
            f"guessing, from a secure sum with {summed[0][1].text('.2g')} times"
        )
        batch, last = summed[-1]
        if len(summed) > 1:
            parts[-1] += f", and with {last.text('.2g')} times where each member has {batch:g} windows in it"
    return "; ".join(parts) + "." if parts else "nothing was measured that answers it."


def captions(table: FederatedTable) -> dict[str, str]:
    """What each figure shows, with its finding."""
    unlearning = "Distance of forecasts to the model that never had the leaver, by who leaves and how it is unlearnt"
    if np.isfinite(table.exact_distance):
        unlearning += f": at most {table.exact_distance:.1g} by exact subtraction"
    averaging = "MSE of the Mixer over the pooled one's, by how it is trained and by what goes wrong"
    if gap := table.to_pooled("mse"):
        averaging += f": federated averaging {gap_text(gap)}"
    inversion = "Error of reconstructed load windows over that of guessing the mean, by what the attacker sees"
    if summed := table.inverted(SUM):
        inversion += f": {summed.text('.2g')} from a secure sum of the smallest updates"
    privacy = "ε of the training by the members that are left in each round"
    if len(table.survivors) > 1:
        least = table.survivors[-1]
        privacy += (
            f": with {least:g} left, {write(table.spent('right', least), '.3g')} where "
            f"{write(table.spent('promised', least), '.3g')} is promised"
        )
    found = {"unlearning": unlearning, "averaging": averaging, "inversion": inversion, "privacy": privacy}
    return {name: f"{own}." for name, own in found.items()}
