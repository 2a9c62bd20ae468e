"""The configured private Faraday: its public start, kept on disk, and the library's options."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from experiments.schema_private import PrivateFaradayConfig
from unlearn.checks import require_choice
from unlearn.dp import Noise, PrivacyLedger, SimulatedNoise, default_delta, noise_source
from unlearn.generators.faraday import (
    Faraday,
    FaradayOptions,
    FaradayPrivacy,
    LossWeights,
    MixtureOptions,
    VaeOptions,
    fit_faraday,
    fit_private_faraday,
    load_faraday,
    relabelled,
    save_faraday,
    untrained_faraday,
)
from unlearn.households import HouseholdProfiles, load_households
from unlearn.records import config_hash, provenance
from unlearn.store import create_folder, kept

#: Where noise may come from.
NOISES = ("os", "simulated")

#: Settings of `FaradayPrivacy`.
_PRIVACY = (
    "epsilon", "delta", "clip", "sampling_rate", "steps", "days", "learning_rate", "trained", "histogram_share",
)  # fmt: skip


def fit_configured(config: PrivateFaradayConfig, learnt: HouseholdProfiles, seed: int, starts: Path) -> Faraday:
    """Fit the configured private Faraday on training households, from a public start that is kept in `starts`.

    What it promises is charged beside that folder, before it begins; a fit that is killed does not go on and stays
    charged. Noise that is simulated, or none, is no promise.
    """
    noise = noise_of(config, seed)
    noise_source(noise, learnt)  # refused before a start is fitted
    start = public_start(config, learnt.segments, learnt.n_steps, starts)
    loss = LossWeights(**asdict(config.vae.loss))
    privacy = privacy_options(config)
    if noise != "os" or privacy.epsilon is None:
        return fit_private_faraday(learnt, start, privacy, loss, noise)
    names = learnt.households["household_id"].iloc[np.unique(learnt.household)]
    delta = privacy.delta if privacy.delta is not None else default_delta(len(names))
    with ledger_of(starts.parent).charged(names, privacy.epsilon, delta, config.kind) as total:
        model = fit_private_faraday(learnt, start, privacy, loss, noise)
    said = {**model.card["privacy"], "charged": asdict(total)}
    return replace(model, card={**model.card, "privacy": said})


def ledger_of(folder: Path) -> PrivacyLedger:
    """Where private fits of a folder of results are charged."""
    return PrivacyLedger(folder / "charges.jsonl")


def noise_of(config: PrivateFaradayConfig, seed: int) -> Noise:
    """Where noise and coins come from: the operating system, or the run's seed for simulated households.

    Raises:
        InputError: neither "os" nor "simulated".
    """
    return SimulatedNoise(seed) if require_choice("generator.noise", config.noise, NOISES) == "simulated" else "os"


def privacy_options(config: PrivateFaradayConfig) -> FaradayPrivacy:
    """The library's options of what is promised, and how it is spent."""
    return FaradayPrivacy(**{name: getattr(config, name) for name in _PRIVACY})


def public_start(config: PrivateFaradayConfig, segments: tuple[str, ...], n_steps: int, folder: Path) -> Faraday:
    """What is known before any household is looked at: a Faraday of simulated ones, or nothing.

    Raises:
        InputError: another start.
    """
    require_choice("generator.start", config.start, ("nothing", "simulator"))
    vae = asdict(config.vae)
    options = VaeOptions(**{**vae, "loss": LossWeights(**vae["loss"])})
    if config.start == "nothing":
        return untrained_faraday(segments, n_steps, options, seed=config.simulated.seed)
    key = {"simulated": asdict(config.simulated), "vae": vae, "mixture": asdict(config.mixture)}
    key |= {
        "segments": segments,
        "n_steps": n_steps,
        "versions": provenance()["versions"],
        "source": provenance()["source"],
    }
    path = folder / f"start-{config_hash(key)}"

    def make() -> None:
        simulated = relabelled(load_households("simulator", **asdict(config.simulated)), segments)
        simulated = simulated.to_hourly() if n_steps == 24 else simulated
        model = fit_faraday(simulated, FaradayOptions(options, MixtureOptions(**asdict(config.mixture))))
        create_folder(path, lambda temporary: save_faraday(model, temporary))

    return kept(path, lambda: load_faraday(path), make)
