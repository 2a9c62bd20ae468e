"""ε of noise that members share when some of them drop out, and the pilot: who has an electric car."""

from __future__ import annotations

import logging

import pandas as pd

from unlearn.dp import SimulatedNoise
from unlearn.dp.noise import Noise
from unlearn.errors import DataError
from unlearn.households import hourly_meters, simulate_households
from unlearn.households.meters import Meters
from unlearn.privacy.federated.adoption import SHARES, adoption_data
from unlearn.privacy.federated.noise import epsilon_under_drop_outs
from unlearn.records import RecordTable
from unlearn.studies.federated.options import ALONE, FEDERATED, POOLED
from unlearn.studies.federated.pilot import AdoptionOptions, measure_adoption
from unlearn.studies.federated.setting import PUBLIC_SEED, Setting

_logger = logging.getLogger(__name__)

#: Rounds of the training whose ε is accounted for; any number gives the same ratios.
ROUNDS = 20
#: Methods of the pilot, as records call them.
METHODS = {
    "pooled": POOLED,
    "alone": ALONE,
    "federated averaging": FEDERATED,
    "least squares": "least_squares",
    "night share": "night_share",
    "high hours": "high_hours",
    "private descent": "private",
    "private least squares": "private_least_squares",
}
#: Whose readings the pilot is on: those of the study, or simulated households in number.
THESE, SIMULATED = "these", "simulated"
#: Days of the simulated households of the pilot.
DAYS = 56


def measure_privacy(setting: Setting, table: RecordTable) -> None:
    """Add ε by surviving members, and how well owners are told."""
    _add_drop_outs(setting, table)
    options = setting.options
    _add_pilot(setting, table, THESE, setting.meters)
    start = f"{setting.meters.hours[0]:%Y-%m-%d}"
    made = hourly_meters(
        simulate_households(options.adoption, start, DAYS, random_state=PUBLIC_SEED + 1 + setting.seed, ev_share=0.0)
    )
    _add_pilot(setting, table, SIMULATED, made)


def least_members(n: int) -> int:
    """Fewest members that a round may end with: a majority."""
    return n // 2 + 1


def _add_drop_outs(setting: Setting, table: RecordTable) -> None:
    options, n = setting.options, setting.options.utilities
    epsilon, least = options.main_epsilon, least_members(n)
    for survivors in range(n, least - 1, -1):
        found = epsilon_under_drop_outs(epsilon, options.delta, n, least, [survivors] * ROUNDS)
        for way, value in (("promised", found.promised), ("right", found.right), ("naive", found.naive)):
            table.add("epsilon_spent", value, part="privacy", method=way, survivors=float(survivors))


def _add_pilot(setting: Setting, table: RecordTable, whose: str, meters: Meters) -> None:
    options, names = setting.options, setting.names
    # Utilities differ in how many of their customers have a car.
    known = list(SHARES.values())
    shares = {name: known[i % len(known)] for i, name in enumerate(names)}
    try:
        data = adoption_data(meters, shares, setting.seed)
    except DataError as error:
        if whose == SIMULATED:
            raise
        _logger.info("federated: the pilot leaves out the %d households of the study: %s", len(meters), error)
        return
    noise: Noise = SimulatedNoise(setting.seed) if data.simulated else "os"
    asked = AdoptionOptions(epsilons=options.epsilons, least_members=least_members(len(names)))
    rows = measure_adoption(data, asked, setting.seed, noise)
    everybody = rows[(rows["tested_on"] == "all") & rows["auc"].notna()]
    for row in everybody.to_dict("records"):
        epsilon = None if pd.isna(row["epsilon"]) else float(row["epsilon"])
        own = {"part": "privacy", "method": METHODS[row["method"]], "epsilon": epsilon, "whose": whose}
        own["utility"] = None if row["trained_on"] == "all" else row["trained_on"]
        for metric in ("auc", "balanced_accuracy"):
            table.add(metric, row[metric], "1", **own)
        if epsilon is not None:
            table.add("spent", row["spent"], "1", **own)
    table.add("pilot_households", len(data), "", part="privacy", whose=whose)
