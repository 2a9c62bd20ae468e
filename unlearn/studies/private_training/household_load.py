"""Forecasters of households under differential privacy: error, cost on the grid, what they spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf, isinf
from typing import Any

import numpy as np

from unlearn.attacks import Outcome, require_enough_records
from unlearn.dp.ledger import PrivacyLedger, default_delta
from unlearn.dp.noise import Noise
from unlearn.errors import InputError
from unlearn.forecasters.household import (
    HouseholdForecaster,
    fit_household_forecaster,
    fit_private_household_forecaster,
    household_mean,
)
from unlearn.forecasters.specs import solved_exactly
from unlearn.grid import OperatingCost
from unlearn.households.by_household import HouseholdProfiles, require_other_households
from unlearn.households.injection import DayAheadPanel, day_ahead_panel
from unlearn.records import RecordTable
from unlearn.studies._shared.bus_loads import training_days
from unlearn.studies._shared.study import METRICS
from unlearn.studies.private_training.attacks import likelihood_attack, loss_attack, make_bus_test
from unlearn.studies.private_training.options import HouseholdLoadOptions


def accounting_records(privacy: Mapping[str, Any]) -> RecordTable:
    """Turn the section `privacy` of a card into records.

    Args:
        privacy: what `fit_private_faraday` wrote: `parts`, ε by three accountants, δ and N.

    Returns:
        `epsilon_pld`, `epsilon_prv_low`, `epsilon_prv_high`, `epsilon_rdp` (infinite without a promise), `delta`,
        `n_units`; and of each part (column `mechanism_of`) `noise_multiplier`, `sampling_rate`, `steps`, `clip` and
        `epsilon_alone`.
    """
    table = RecordTable()
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


#: What the forecasts of this study are called in the column `task`, and the one that needs no training.
TASK, MEAN = "household_load", "mean of the week before"


def measure_household_load(
    train: HouseholdProfiles,
    holdout: HouseholdProfiles,
    cost: OperatingCost,
    epsilon: float = inf,
    options: HouseholdLoadOptions | None = None,
    seed: int = 0,
    labels: Mapping[str, object] | None = None,
    ledger: PrivacyLedger | None = None,
    noise: Noise = "os",
    test_every: int = 4,
) -> RecordTable:
    """Fit each forecaster on training households with (ε, 1/(10 N))-differential privacy, and measure it.

    Errors and cost are those of buses of other households in test weeks; attacks compare training households with
    the others on training weeks.

    Args:
        train: training households with all their days.
        holdout: other households with all their days.
        cost: the grid.
        epsilon: ε; infinity fits without privacy.
        options: how to fit and measure.
        seed: of fits, buses, shadow heads and intervals.
        labels: further columns of every record.
        ledger: where private fits are charged before they begin, if anywhere.
        noise: of private fits and shadow heads: "os" draws it and coins from the operating system; simulated noise
            repeats and protects nobody, for simulated households.
        test_every: every so many calendar weeks, one is tested on.

    Returns:
        Records with `task`, `forecaster`, `epsilon`, `metric`, `value`, `unit`, and `attack`, `low`, `high`.

    Raises:
        InputError: ε out of range, or too few households for a false positive rate.
        MismatchError: train and holdout share households.
    """
    options = options or HouseholdLoadOptions()
    if not epsilon > 0:
        raise InputError(f"epsilon: expected a number above 0, or infinity for no privacy, got {epsilon!r}.")
    require_other_households("household forecasts", train, holdout)
    panel, other = day_ahead_panel(train), day_ahead_panel(holdout)
    require_enough_records(len(other.members), options.fprs)
    known, others = (p.take(training_days(p.date, test_every)) for p in (panel, other))
    test = make_bus_test(train, holdout, other, cost, options.customers, test_every, options.hours, seed)
    own = {"experiment": "private_training", "data": train.name, "grid": cost.case.name, "seed": seed}
    table = RecordTable(**{**own, "task": TASK, "epsilon": epsilon, **(labels or {})})

    def add_metrics(forecaster: HouseholdForecaster, name: str) -> None:
        for metric, value in test.metrics(forecaster).items():
            table.add(metric, value, METRICS[metric], forecaster=name, split="test")

    add_metrics(household_mean(), MEAN)
    for kind in options.forecasters:
        with _charged(ledger, train, known, kind, epsilon, noise):
            forecaster = _fit(known, kind, epsilon, options, seed, noise)
        add_metrics(forecaster, kind)
        _add_spent(table, forecaster)
        _add_attack(table, kind, "loss", loss_attack(forecaster, known, others, options.fprs, seed))
        if solved_exactly(kind):
            found = likelihood_attack(
                forecaster,
                known,
                others,
                **_release_of(forecaster),
                shadows=options.shadows,
                fprs=options.fprs,
                seed=seed,
                noise=noise,
            )
            _add_attack(table, kind, "likelihood ratio", found)
    return table


@contextmanager
def _charged(
    ledger: PrivacyLedger | None,
    train: HouseholdProfiles,
    panel: DayAheadPanel,
    kind: str,
    epsilon: float,
    noise: Noise,
) -> Iterator[None]:
    if ledger is None or isinf(epsilon) or noise != "os":
        yield
        return
    names = train.households["household_id"].iloc[panel.members]
    with ledger.charged(names, epsilon, default_delta(len(names)), f"{kind} forecaster"):
        yield


def _fit(
    panel: DayAheadPanel, kind: str, epsilon: float, options: HouseholdLoadOptions, seed: int, noise: Noise
) -> HouseholdForecaster:
    if isinf(epsilon):
        return fit_household_forecaster(panel, kind, options.training, seed)
    delta = default_delta(len(panel.members))
    return fit_private_household_forecaster(panel, kind, epsilon, delta, options.private, seed, noise)


def _release_of(forecaster: HouseholdForecaster) -> dict[str, float]:
    """How shadow heads are to be made: as the attacked one was."""
    private = forecaster.card["private"]
    if private is None:
        return {"clip": np.inf, "noise_multiplier": 0.0, "ridge": 0.0}
    options = private["options"]
    return {
        "clip": options["row_clip"],
        "noise_multiplier": private["parts"][0]["noise_multiplier"],
        "ridge": options["ridge"],
    }


def _add_spent(table: RecordTable, forecaster: HouseholdForecaster) -> None:
    private = forecaster.card["private"]
    if private is None:
        return
    (part,) = private["parts"]
    prv = dict(zip(("epsilon_prv_low", "epsilon_prv", "epsilon_prv_high"), private["epsilon_prv"], strict=True))
    spent = {"epsilon_pld": private["epsilon"], **prv, "epsilon_rdp": private["epsilon_rdp"]}
    for metric, value in {**spent, "delta": private["delta"], **part}.items():
        table.add(metric, value, "1", forecaster=forecaster.kind)
    table.add("n_units", private["n_units"], "households", forecaster=forecaster.kind)


def _add_attack(table: RecordTable, kind: str, attack: str, found: Outcome) -> None:
    columns: dict[str, object] = {"forecaster": kind, "attack": attack, "membership": found.unit}
    columns |= {"n_members": found.n_members, "n_others": found.n_others}
    for metric, estimate in found.metrics().items():
        table.add(metric, estimate.value, "1", low=estimate.low, high=estimate.high, **columns)
