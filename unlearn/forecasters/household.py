"""Day-ahead forecasters of single households, pooled over all of them: linear, or one of the networks; without privacy,
or differentially private with the household as the unit.

They learn what to add to the household's own mean of each hour over the week before: a forecaster that learnt
nothing, because privacy left nothing, is then still that mean.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unlearn.checks import FloatArray, IntArray, as_floats, require_finite, require_shape
from unlearn.dp.accounting import GaussianSteps, epsilon_by_prv, epsilon_by_rdp, epsilon_spent, noise_multiplier_for
from unlearn.dp.ledger import EXACT, FLOATS, noise_claims, require_guarantee
from unlearn.dp.noise import Noise, noise_source
from unlearn.dp.options import SgdOptions
from unlearn.dp.sgd import train_privately
from unlearn.errors import InputError
from unlearn.forecasters.extractors import N_FEATURES
from unlearn.forecasters.head import ClippedSums
from unlearn.forecasters.specs import FORECASTERS, PrivateForecastOptions, TrainingOptions, network_named
from unlearn.forecasters.training import train_network
from unlearn.households.injection import CALENDAR, FEATURES, HOURS, DayAheadPanel

#: Energy that counts as 1 inside the forecasters: a constant, so that scaling learns from no household.
UNIT_KWH = 0.5

_MEAN = FEATURES.index("hour_mean_kwh")


class HourlyLinear(nn.Module):
    """One head for every hour: `w φ(x_hour)` with calendar, energies, a second daily wave, and an intercept."""

    head: Tensor

    def __init__(self, head: Tensor) -> None:
        super().__init__()
        self.register_buffer("head", head.detach().double())

    def forward(self, scaled: Tensor) -> Tensor:
        return hourly_design(scaled.double()) @ self.head


def hourly_design(scaled: Tensor) -> Tensor:
    """Columns of the linear head, shape (n, 24, D), from scaled features (n, 24, F)."""
    sine, cosine = scaled[..., 2], scaled[..., 3]
    second = torch.stack([2 * sine * cosine, cosine.square() - sine.square()], dim=-1)
    return torch.cat([scaled, second, torch.ones_like(scaled[..., :1])], dim=-1)


@dataclass(frozen=True, eq=False)
class HouseholdForecaster:
    """Maps features of household days (n, 24, F) to energies in kWh (n, 24).

    Attributes:
        kind: "linear", "cnn" or "mixer".
        network: from scaled features (n, 24, F) to what is added to the mean of each hour, scaled, (n, 24).
        card: settings, training record, what is private; JSON.
    """

    kind: str
    network: nn.Module
    card: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def forecast(self, features: FloatArray) -> FloatArray:
        """Energies in kWh, not below 0, shape (n, 24).

        Raises:
            InputError: features of another shape, or NaN.
        """
        given = as_floats("features", features, ndim=3)
        require_shape("features", given, (None, HOURS, len(FEATURES)))
        require_finite("features", given)
        dtype = next((value.dtype for value in self.network.state_dict().values()), torch.float32)
        pieces = [
            self.network(part.to(dtype)).double() + part[..., _MEAN] for part in scaled_features(given).split(8192)
        ]
        return (torch.cat(pieces) * UNIT_KWH).clamp_min(0).numpy()

    def losses(self, panel: DayAheadPanel) -> FloatArray:
        """Squared error of each row, kWh², mean over hours, shape (N,)."""
        return np.square(self.forecast(panel.features) - panel.kwh).mean(axis=1)


def scaled_features(features: FloatArray) -> Tensor:
    """Energies in units of `UNIT_KWH`, the calendar as it is; float64."""
    scale = torch.ones(len(FEATURES), dtype=torch.float64)
    scale[len(CALENDAR) :] = 1 / UNIT_KWH
    return torch.from_numpy(features).double() * scale


def scaled_targets(panel: DayAheadPanel) -> Tensor:
    """What is to be added to the mean of each hour, in units of `UNIT_KWH`, shape (N, 24), float64."""
    return torch.from_numpy(panel.kwh - panel.features[..., _MEAN]).double() / UNIT_KWH


def untrained_network(kind: str, seed: int) -> nn.Module:
    """A network of the day's 24 hours with initial weights from the seed.

    Raises:
        InputError: not the kind of a network.
    """
    extractor = network_named(kind).extractor
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(extractor(HOURS, len(FEATURES)), nn.Linear(N_FEATURES, HOURS))


def household_mean() -> HouseholdForecaster:
    """The forecaster that learnt nothing: the household's own mean of each hour over the week before."""
    n_columns = hourly_design(torch.zeros((1, HOURS, len(FEATURES)))).shape[-1]
    return HouseholdForecaster("mean", HourlyLinear(torch.zeros(n_columns)), {"kind": "mean", "private": None})


def fit_household_forecaster(
    panel: DayAheadPanel, kind: str = "linear", training: TrainingOptions | None = None, seed: int = 0
) -> HouseholdForecaster:
    """Fit without privacy: the yardstick for `fit_private_household_forecaster`.

    Args:
        panel: days of training households.
        kind: "linear", solved exactly with every household of the same weight; "cnn" or "mixer", trained with early
            stopping on other households.
        training: of the networks; None takes the published settings.
        seed: of initial weights, batch order and the households for early stopping.

    Raises:
        InputError: an unknown kind, or a network with fewer than two households.
    """
    card = {"kind": kind, "data": panel.name, "n_households": len(panel.members), "n_rows": len(panel), "private": None}
    if FORECASTERS[kind].exact:
        design = hourly_design(scaled_features(panel.features))
        root = torch.from_numpy(1 / np.sqrt(np.bincount(panel.household)[panel.household]))[:, None, None]
        target = scaled_targets(panel)[..., None]
        solved = torch.linalg.lstsq((design * root).flatten(0, 1), (target * root).flatten(0, 1), driver="gelsd")
        return HouseholdForecaster(kind, HourlyLinear(solved.solution[:, 0]), card)
    if len(panel.members) < 2:
        raise InputError(f"{panel.name}: expected at least 2 households, one for early stopping, got 1.")
    # The last rows are watched: with households in random order they are other households, but for one at the border.
    rank = np.random.default_rng(seed).permutation(panel.household.max() + 1)[panel.household]
    mixed = panel.take(np.argsort(rank, kind="stable"))
    network = untrained_network(kind, seed)
    inputs, targets = scaled_features(mixed.features).float(), scaled_targets(mixed).float()
    history = train_network(network, inputs, targets, training or TrainingOptions(), seed)
    return HouseholdForecaster(kind, network.requires_grad_(False), {**card, "training": history})


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
    return ClippedSums.of(*linear_rows(panel), clip)


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
