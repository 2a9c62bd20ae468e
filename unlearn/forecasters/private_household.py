"""Day-ahead forecasters of households that are differentially private, with the household as the unit."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import IntArray
from unlearn.dp.accounting import GaussianSteps, epsilon_by_prv, epsilon_by_rdp, epsilon_spent, noise_multiplier_for
from unlearn.dp.ledger import EXACT, FLOATS, noise_claims, require_guarantee
from unlearn.dp.noise import Noise, noise_source
from unlearn.dp.options import SgdOptions
from unlearn.dp.sgd import train_privately
from unlearn.forecasters.household import (
    HourlyLinear,
    HouseholdForecaster,
    hourly_design,
    scaled_features,
    scaled_targets,
    untrained_network,
)
from unlearn.forecasters.options import PrivateForecastOptions
from unlearn.forecasters.private_head import ClippedSums
from unlearn.forecasters.specs import FORECASTERS
from unlearn.households.day_ahead import DayAheadPanel


def fit_private_household_forecaster(
    panel: DayAheadPanel,
    kind: str,
    epsilon: float,
    delta: float,
    options: PrivateForecastOptions | None = None,
    seed: int = 0,
    noise: Noise = "os",
) -> HouseholdForecaster:
    """Fit so that the forecaster is (ε, δ)-differentially private for households, added or removed.

    "linear" perturbs the sufficient statistics of clipped rows once; "cnn" and "mixer" are trained by DP-SGD over
    Poisson-sampled households, a fixed number of steps. Scales are constants, and nothing is chosen by looking at the
    data, so that the mechanism covers all of the fit. The number of households counts as public.

    Args:
        panel: days of training households.
        kind: "linear", "cnn" or "mixer".
        epsilon: ε > 0.
        delta: δ in (0, 1/N).
        options: settings.
        seed: of initial weights, which see no data and count as public.
        noise: "os" draws sampling coins and noise from the operating system's generator, so that no fit repeats.
            `SimulatedNoise(seed)` repeats and protects nobody; it is for panels of simulated households.

    Returns:
        The forecaster; its card says what was spent, by three accountants.

    Raises:
        InputError: an unknown kind, ε or δ out of range, a package that is not installed, or a seed of noise for a
            panel that may be real.
    """
    exact = FORECASTERS[kind].exact
    require_guarantee(epsilon, delta, len(panel.members))
    options = options or PrivateForecastOptions()
    source = noise_source(noise, panel)
    if exact:
        multiplier = noise_multiplier_for(epsilon, delta, 1.0, 1)
        head = linear_sums(panel, options.row_clip).release(multiplier, source, options.ridge)[0]
        card = _card(panel, kind, GaussianSteps(multiplier, 1.0, 1), delta, options, noise_claims(source, EXACT))
        return HouseholdForecaster(kind, HourlyLinear(head), card)
    multiplier = noise_multiplier_for(epsilon, delta, options.sampling_rate, options.steps)
    network = untrained_network(kind, seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
    days = _DaysOfHouseholds(panel)

    def batch(units: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows, position = days.draw(units, options.days, generator)
        error = network(days.inputs[rows]) - days.targets[rows]
        return error.square().mean(dim=1), position

    settings = SgdOptions(options.clip, multiplier, options.sampling_rate, options.steps)
    run = train_privately(network, batch, len(panel.members), optimiser, settings, source, schedule.step)
    network.eval().requires_grad_(False)
    return HouseholdForecaster(
        kind, network, _card(panel, kind, run.spent, delta, options, noise_claims(source, FLOATS))
    )


def linear_sums(panel: DayAheadPanel, clip: float) -> ClippedSums:
    """The sums that a linear head is made of; households can be removed from them again."""
    design, target, unit = linear_rows(panel)
    return ClippedSums.of(design, target, unit, clip)


def linear_rows(panel: DayAheadPanel) -> tuple[Tensor, Tensor, IntArray]:
    """Design (24 N, D), target (24 N, 1) and household (24 N,) of every hour."""
    design = hourly_design(scaled_features(panel.features)).flatten(0, 1)
    return design, scaled_targets(panel).flatten()[:, None], np.repeat(panel.household, 24)


class _DaysOfHouseholds:
    """Rows of each household, to draw days from."""

    def __init__(self, panel: DayAheadPanel) -> None:
        self.inputs, self.targets = scaled_features(panel.features).float(), scaled_targets(panel).float()
        place = np.unique(panel.household, return_inverse=True)[1].reshape(-1)
        self.rows = torch.from_numpy(np.argsort(place, kind="stable"))
        self.count = torch.from_numpy(np.bincount(place))
        self.first = self.count.cumsum(0) - self.count

    def draw(self, units: Tensor, days: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Days of each household with replacement, and the place of its household in `units`, each (k · days,)."""
        level = torch.rand((len(units), days), generator=generator, dtype=torch.float64)
        within = (level * self.count[units][:, None]).long()
        position = torch.arange(len(units))[:, None].expand(-1, days)
        return self.rows[self.first[units][:, None] + within].flatten(), position.flatten()


def _card(
    panel: DayAheadPanel,
    kind: str,
    spent: GaussianSteps,
    delta: float,
    options: PrivateForecastOptions,
    claims: dict[str, object],
) -> dict[str, object]:
    n_units, parts = len(panel.members), [spent]
    prv = epsilon_by_prv(parts, delta)
    private = {
        "unit": "household",
        "n_units": n_units,
        "neighbours": "one household more or less",
        "delta": delta,
        "epsilon": epsilon_spent(parts, delta),
        "epsilon_prv": list(prv),
        "epsilon_rdp": epsilon_by_rdp(parts, delta),
        "parts": [asdict(part) for part in parts],
        "not_covered": [],
        **claims,
        "options": asdict(options),
    }
    # No number of rows: that of one household's days is its own.
    return {"kind": kind, "data": panel.name, "n_households": n_units, "private": private}
