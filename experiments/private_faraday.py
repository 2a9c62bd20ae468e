"""The configured private Faraday: its public start, kept on disk, and the library's options."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from experiments.schema_private import PrivateFaradayConfig
from unlearn.checks import require_choice
from unlearn.data import HouseholdProfiles, load_households
from unlearn.records import config_hash, provenance
from unlearn.store import create_folder, kept
from unlearn.synthetic.faraday import (
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

#: Settings of `FaradayPrivacy`.
_PRIVACY = (
    "epsilon", "delta", "clip", "sampling_rate", "steps", "days", "learning_rate", "trained", "histogram_share",
)  # fmt: skip


def fit_configured(config: PrivateFaradayConfig, learnt: HouseholdProfiles, seed: int, starts: Path) -> Faraday:
    """Fit the configured private Faraday on training households, from a public start that is kept in `starts`."""
    start = public_start(config, learnt.segments, learnt.n_steps, starts)
    loss = LossWeights(**asdict(config.vae.loss))
    return fit_private_faraday(learnt, start, privacy_options(config), loss, None if config.secret else seed)


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
