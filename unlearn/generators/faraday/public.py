"""Where private training starts from: a Faraday that has seen no household that is to be protected."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

from unlearn.generators.faraday.mixture import LabelledMixture
from unlearn.generators.faraday.model import Faraday
from unlearn.generators.faraday.options import VaeOptions
from unlearn.generators.faraday.scaling import EnergyScaler, LabelSpace
from unlearn.generators.faraday.vae import ProfileVae
from unlearn.households.profiles import DailyProfiles
from unlearn.records import provenance

#: Mean and deviation of the square root of half-hourly kWh over a year of 200 households of the embedded simulator.
SIMULATED_SCALER = EnergyScaler(mean=0.378, sd=0.239)


def untrained_faraday(
    segments: tuple[str, ...],
    n_steps: int,
    options: VaeOptions | None = None,
    scaler: EnergyScaler = SIMULATED_SCALER,
    seed: int = 0,
) -> Faraday:
    """A Faraday that knows nothing: initial weights, latents from N(0, I), labels and residuals independent.

    Args:
        segments: names of the segments, which count as public.
        n_steps: steps of a day, S.
        options: of the network; only its size is used.
        scaler: constants that come from public data.
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
        "scaler": asdict(scaler),
        "options": {"vae": asdict(options)},
        "versions": provenance()["versions"],
    }
    return Faraday(vae, mixture, np.eye(n_steps), scaler, space, card)


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
