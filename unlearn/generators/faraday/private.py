"""Faraday under (ε, δ)-differential privacy of households: everything that sees them is noised and accounted for.

Training goes on from a Faraday that knows none of them. The network (or its biases alone) learns by DP-SGD with one
clipped gradient of each household. One noisy histogram, in which a household counts 1, tells how often each component
of the mixture occurs in each segment. Shapes of components, residuals and scaler stay those of the start; the calendar
gives months and days.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray
from unlearn.data.times import day_of_week_of, month_of
from unlearn.dp import (
    GaussianSteps,
    Noise,
    NoiseSource,
    SgdOptions,
    default_delta,
    epsilon_by_prv,
    epsilon_by_rdp,
    epsilon_spent,
    noise_multiplier_for,
    noise_source,
    private_sum,
    require_guarantee,
    train_privately,
)
from unlearn.dp.ledger import EXACT, FLOATS, noise_claims
from unlearn.errors import InputError, MismatchError
from unlearn.generators.faraday.em import LabelledMixture, normalised
from unlearn.generators.faraday.generators import FaradayPrivacy, LossWeights, VaeOptions
from unlearn.generators.faraday.model import Faraday
from unlearn.generators.faraday.scaling import EnergyScaler, LabelSpace
from unlearn.generators.faraday.vae import ProfileVae, profile_losses
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.profiles import DailyProfiles
from unlearn.records import provenance

#: What learning from no data makes free.
_FREE = (
    ("scaler", "constants of the start"),
    ("shapes of mixture components", "those of the start"),
    ("copula of residuals", "that of the start"),
    ("months and days of the week", "the calendar between the first and the last date, which are public"),
    ("when training stops", "a number of steps that is fixed in advance; no epoch is chosen"),
)
#: Where the promise ends even if every part is covered.
_CAVEATS = (
    "The number of households, the names of segments and the first and last date count as public.",
    "Neighbours differ by one household, with all its days, more or less. Two households of one family count as two.",
    "Settings count as chosen without these households; choosing them on the result would cost more.",
)


def privacy_card(
    sgd: GaussianSteps, histogram: GaussianSteps, clip: float, delta: float, n_units: int, source: NoiseSource
) -> dict[str, Any]:
    """The section `privacy` of a card, JSON: what SGD and the histogram spent together, at δ among N households."""
    network = _part("network", "DP-SGD, one clipped gradient of each household in a step", sgd, clip, delta)
    weights = _part("weights of components and segments", "discrete Gaussian on a histogram", histogram, 1.0, delta)
    both = [sgd, histogram]
    private = min(part.noise_multiplier for part in both) > 0
    claims: dict[str, Any] = noise_claims(source, EXACT, FLOATS) if private else {"noise": "none", "caveats": []}
    names = [part["part"] for part in (network, weights)]
    epsilon = epsilon_spent(both, delta)
    spent = epsilon_by_prv(both, delta, max(1e-3, 1e-3 * epsilon)) if private else None
    return {
        "private": private and source.kind == "os",
        "epsilon": epsilon if private else None,
        "epsilon_prv": list(spent) if spent else None,
        "epsilon_rdp": epsilon_by_rdp(both, delta) if private else None,
        "delta": delta,
        "unit": "household",
        "n_units": n_units,
        "adjacency": "add or remove one household; Poisson sampling",
        "parts": [network, weights],
        "without_cost": [{"part": part, "mechanism": how} for part, how in _FREE],
        "not_covered": [] if private else names,
        "noise": claims["noise"],
        "caveats": [*claims["caveats"], *_CAVEATS],
    }


def _part(name: str, mechanism: str, steps: GaussianSteps, clip: float, delta: float) -> dict[str, Any]:
    alone = epsilon_spent([steps], delta)
    return {
        "part": name,
        "mechanism": mechanism if steps.noise_multiplier > 0 else "none: no noise",
        "clip": clip,
        **asdict(steps),
        "epsilon_alone": alone if math.isfinite(alone) else None,
    }


def fit_private_faraday(
    profiles: HouseholdProfiles,
    start: Faraday,
    privacy: FaradayPrivacy | None = None,
    loss: LossWeights | None = None,
    noise: Noise = "os",
) -> Faraday:
    """Go on training from a public Faraday, so that the result keeps each household private.

    Args:
        profiles: training households. Their number, segments' names and first and last date count as public.
        start: a Faraday that was fitted on none of them, such as one of simulated households, or `untrained_faraday`.
        privacy: what is promised, and how it is spent.
        loss: weights of the loss; "mmd" is refused, for it mixes households.
        noise: "os" draws sampling coins and noise from the operating system's generator, so that no fit repeats.
            `SimulatedNoise(seed)` repeats and protects nobody; it is for profiles that are simulated.

    Returns:
        A generator whose card says what each part spent. It holds no fingerprint of the data and no losses: both would
        tell of single households.

    Raises:
        InputError: a promise that is none for so many households, settings out of range, or a seed for profiles that
            may be real.
        MismatchError: a start with other segments or steps, one that was fitted on these households, or one
            that was itself trained privately.
        ConvergenceError: training diverged.
    """
    privacy, loss = privacy or FaradayPrivacy(), loss or LossWeights()
    _check(profiles, start, loss)
    source = noise_source(noise, profiles)
    present = np.unique(profiles.household)
    if len(present) < profiles.n_households:
        profiles = profiles.of_households(present)
    n_units = profiles.n_households
    delta = privacy.delta if privacy.delta is not None else default_delta(n_units)
    sgd, histogram = _plan(privacy, delta, n_units)
    vae = copy.deepcopy(start.vae)
    ran = _train(vae, profiles, start, privacy, sgd, loss, source)
    shares = _component_shares(vae, profiles, start, histogram, source)
    card = {
        "kind": "faraday",
        "data": profiles.name,
        "n_households": n_units,
        "n_steps": profiles.n_steps,
        "segments": list(start.space.segments),
        "scaler": asdict(start.scaler),
        "options": {**start.card["options"], "privacy": asdict(privacy), "loss": asdict(loss)},
        "start": {name: start.card.get(name) for name in ("data", "fingerprint", "n_households")},
        "privacy": privacy_card(ran, histogram, privacy.clip, delta, n_units, source),
        "versions": provenance()["versions"],
    }
    mixture = _mixture(start.mixture, shares, profiles)
    return replace(start, vae=vae.requires_grad_(False), mixture=mixture, card=card)


def _check(profiles: HouseholdProfiles, start: Faraday, loss: LossWeights) -> None:
    if loss.kind == "mmd":
        raise InputError(
            "loss.kind: expected kl, got mmd, which no household has by itself. Private training takes kl."
        )
    start.space.matrix(profiles)
    if start.vae.n_steps != profiles.n_steps:
        raise MismatchError(
            f"start: expected a Faraday of {profiles.n_steps} steps a day, as {profiles.name} has, got "
            f"{start.vae.n_steps}."
        )
    if start.card.get("fingerprint") == profiles.fingerprint:
        raise MismatchError(
            "start: expected a Faraday that has seen none of these households, got one that was fitted on them. Fit it "
            "on simulated or published ones."
        )
    if "privacy" in start.card:
        # Its households may be among these, and a card counts what one training spends.
        raise MismatchError(
            f"start: expected a Faraday that no private household was needed for, got one that was trained privately "
            f"on {start.card['data']}: what that spent would not be counted. Start from what it started from."
        )


def _plan(privacy: FaradayPrivacy, delta: float, n_units: int) -> tuple[SgdOptions, GaussianSteps]:
    """Noise of both parts, so that together they spend ε."""
    if privacy.epsilon is None:
        return SgdOptions(privacy.clip, 0.0, privacy.sampling_rate, privacy.steps), GaussianSteps(0.0, 1.0, 1)
    require_guarantee(privacy.epsilon, delta, n_units)
    own = noise_multiplier_for(privacy.histogram_share * privacy.epsilon, delta, 1.0, 1)
    histogram = GaussianSteps(own, 1.0, 1)
    noise = noise_multiplier_for(privacy.epsilon, delta, privacy.sampling_rate, privacy.steps, [histogram])
    return SgdOptions(privacy.clip, noise, privacy.sampling_rate, privacy.steps), histogram


def _train(
    vae: ProfileVae,
    profiles: HouseholdProfiles,
    start: Faraday,
    privacy: FaradayPrivacy,
    sgd: SgdOptions,
    loss: LossWeights,
    source: NoiseSource,
) -> GaussianSteps:
    """Train the network in place; households on the first axis, their days on the second."""
    rows, first, many = _rows_by_household(profiles)
    x, labels = start.scaler.scale(profiles.kwh), start.space.one_hot(start.space.matrix(profiles))

    def batch(units: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = (torch.rand((len(units), privacy.days), generator=generator) * many[units, None]).long()
        chosen = rows[first[units, None] + drawn]
        noise = torch.randn((*chosen.shape, vae.latent), generator=generator)
        losses, _ = profile_losses(vae, x[chosen], labels[chosen], noise, loss, start.scaler.zero)
        return losses.mean(dim=1), torch.arange(len(units))

    for name, parameter in vae.named_parameters():
        parameter.requires_grad_(privacy.trained == "all" or name.endswith("bias"))
    trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=privacy.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, privacy.steps)
    return train_privately(vae, batch, profiles.n_households, optimiser, sgd, source, schedule.step).spent


def _rows_by_household(profiles: HouseholdProfiles) -> tuple[Tensor, Tensor, Tensor]:
    """Rows ordered by household, where each household's begin, and how many they are."""
    rows = np.argsort(profiles.household, kind="stable")
    many = np.bincount(profiles.household, minlength=profiles.n_households)
    first = np.cumsum(many) - many
    return torch.from_numpy(rows), torch.from_numpy(first), torch.from_numpy(many)


@torch.no_grad()
def _component_shares(
    vae: ProfileVae, profiles: HouseholdProfiles, start: Faraday, histogram: GaussianSteps, source: NoiseSource
) -> FloatArray:
    """Share of households in each component and segment, shape (K, segments), from one noisy histogram.

    A household puts 1 in all into the cells: for each of its days the probabilities of the components, averaged.
    """
    space, mixture = start.space, start.mixture
    k, n_segments = mixture.n_components, len(space.segments)
    latent = LabelledMixture(mixture.weights, mixture.means, mixture.factors, ())
    of_household = np.zeros((profiles.n_households, k))
    many = np.bincount(profiles.household, minlength=profiles.n_households)
    x, matrix = start.scaler.scale(profiles.kwh), space.matrix(profiles)
    for rows in np.array_split(np.arange(len(profiles)), max(1, len(profiles) // 8192)):
        mean, _ = vae.posterior(x[rows], space.one_hot(matrix[rows]))
        probability, _ = normalised(latent.log_joint(mean.double().numpy(), np.zeros((len(rows), 0), dtype=np.int64)))
        of = profiles.household[rows]
        np.add.at(of_household, of, probability / many[of, None])
    segment = np.zeros((len(many), n_segments))
    segment[profiles.household, profiles.segment] = 1
    table = of_household[:, :, None] * segment[:, None, :]
    noisy = private_sum(table.reshape(len(table), -1), 1.0, histogram.noise_multiplier, source)
    prior = mixture.weights[:, None] * mixture.labels[2]
    return _drawn_towards(noisy.reshape(k, n_segments) / len(table), prior, histogram.noise_multiplier / len(table))


def _drawn_towards(shares: FloatArray, prior: FloatArray, sd: float) -> FloatArray:
    """Noisy shares drawn towards public ones by as much as noise explains their distance (James & Stein 1961)."""
    distance = float(np.square(shares - prior).sum())
    kept = max(0.0, 1 - max(shares.size - 2, 0) * sd**2 / distance) if distance > 0 else 0.0
    drawn = np.maximum(prior + kept * (shares - prior), 1e-6)
    return drawn / drawn.sum()


def _mixture(start: LabelledMixture, shares: FloatArray, profiles: HouseholdProfiles) -> LabelledMixture:
    """The start's components with other weights and segments; months and days as the calendar has them."""
    days = np.arange(profiles.date.min(), profiles.date.max() + 1)
    month = np.bincount(month_of(days) - 1, minlength=12) + 1e-9
    day = np.bincount(day_of_week_of(days), minlength=7) + 1e-9
    weights = shares.sum(axis=1)
    k = len(weights)
    calendar = (np.tile(month / month.sum(), (k, 1)), np.tile(day / day.sum(), (k, 1)))
    return LabelledMixture(
        weights / math.fsum(weights), start.means, start.factors, (*calendar, shares / weights[:, None])
    )


#: Mean and deviation of the square root of half-hourly kWh over a year of 200 households of the embedded simulator.
SIMULATED_SCALER = EnergyScaler(mean=0.378, sd=0.239)


def untrained_faraday(
    segments: tuple[str, ...], n_steps: int, options: VaeOptions | None = None, seed: int = 0
) -> Faraday:
    """A Faraday that knows nothing: initial weights, latents from N(0, I), labels and residuals independent.

    Args:
        segments: names of the segments, which count as public.
        n_steps: steps of a day, S.
        options: of the network; only its size is used.
        seed: of the initial weights.
    """
    options = options or VaeOptions()
    space = LabelSpace(segments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = ProfileVae(n_steps, space.width, options.latent, options.hidden).requires_grad_(False)
    mixture = LabelledMixture(
        weights=np.ones(1),
        means=np.zeros((1, options.latent)),
        factors=np.eye(options.latent)[None],
        labels=tuple(np.full((1, size), 1 / size) for size in space.sizes),
    )
    card = {
        "kind": "faraday",
        "data": "nothing",
        "fingerprint": None,
        "n_steps": n_steps,
        "segments": list(segments),
        "scaler": asdict(SIMULATED_SCALER),
        "options": {"vae": asdict(options)},
        "versions": provenance()["versions"],
    }
    return Faraday(vae, mixture, np.eye(n_steps), SIMULATED_SCALER, space, card)


def relabelled(public: DailyProfiles, segments: tuple[str, ...], seed: int = 0) -> DailyProfiles:
    """Public profiles with the segments of private ones: by name, and at random where a name is not among them.

    Args:
        public: profiles of anybody, such as simulated households.
        segments: names that the private households' segments have.
        seed: of the random ones.
    """
    names = np.asarray(public.segments)
    known = {name: i for i, name in enumerate(segments)}
    code = np.array([known.get(str(name), -1) for name in names])[public.segment]
    drawn = np.random.default_rng(seed).integers(len(segments), size=len(code))
    code = np.where(code < 0, drawn, code)
    return DailyProfiles(public.name, public.kwh, public.month, public.day_of_week, code, segments)
