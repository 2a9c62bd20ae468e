"""Faraday: a variational autoencoder of daily profiles with a Gaussian mixture over its latent space.

On disk, its numbers are safetensors and everything else is a JSON card.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, require_count, short_repr
from unlearn.errors import InputError
from unlearn.generators.faraday.em import LabelledMixture, fit_mixture
from unlearn.generators.faraday.generators import FaradayOptions
from unlearn.generators.faraday.scaling import LABELS, EnergyScaler, LabelSpace, residual_factor, residual_scores
from unlearn.generators.faraday.vae import ProfileVae, ScaledProfiles, train_vae
from unlearn.households.by_household import HouseholdProfiles, split_households
from unlearn.households.profiles import DailyProfiles
from unlearn.limits import build_to_fit
from unlearn.records import CARD, provenance, read_card, read_json, read_safetensors, write_card, write_safetensors
from unlearn.store import replace_folder

_CHUNK = 8192


@short_repr
@dataclass(frozen=True, eq=False)
class Faraday:
    """A fitted generator of labelled daily profiles (Chai & Chadney 2024, "Faraday").

    `labels, z ~ mixture`, then each step takes the value of its decoded quantile function at a level; the levels of
    a day come from a Gaussian copula, so that what the latent space does not hold is still correlated over the day.

    Attributes:
        vae: encoder and decoder.
        mixture: over latents and labels.
        residual: factor of the copula, shape (S, S).
        scaler: energy to the network's scale.
        space: values of the labels.
        card: settings, training record, and what it was fitted on; JSON.
    """

    vae: ProfileVae
    mixture: LabelledMixture
    residual: FloatArray
    scaler: EnergyScaler
    space: LabelSpace
    card: dict[str, Any]

    def sample(self, n: int, seed: int = 0) -> DailyProfiles:
        """Draw exactly n profiles with the labels that the training profiles had together.

        Raises:
            InputError: n below 1.
        """
        random = np.random.default_rng(seed)
        z, labels = self.mixture.sample(require_count("n", n), random)
        return self._release(z, labels, random)

    def sample_given(
        self, month: ArrayLike, day_of_week: ArrayLike, segment: ArrayLike | Sequence[str], seed: int = 0
    ) -> DailyProfiles:
        """Draw a profile for each combination of labels, in this order.

        Args:
            month: 1 to 12, shape (n,) or one value for all.
            day_of_week: 0 (Monday) to 6, shape (n,) or one value.
            segment: names or positions, shape (n,) or one value.
            seed: of the draw.

        Raises:
            InputError: labels that are not known, or of different lengths.
        """
        labels = self.space.wanted(month, day_of_week, segment)
        random = np.random.default_rng(seed)
        return self._release(self.mixture.sample_given(labels, random), labels, random)

    @torch.no_grad()
    def _release(self, z: FloatArray, labels: IntArray, random: np.random.Generator) -> DailyProfiles:
        kwh = np.empty((len(z), self.vae.n_steps), dtype=np.float32)
        for start in range(0, len(z), _CHUNK):
            rows = slice(start, start + _CHUNK)
            score = random.standard_normal(kwh[rows].shape) @ self.residual.T
            quantiles = self.vae.quantiles(torch.from_numpy(z[rows]).float(), self.space.one_hot(labels[rows]))
            kwh[rows] = self.scaler.unscale(self.vae.value_at(quantiles, torch.from_numpy(score).float()))
        month, day_of_week, segment = labels.T
        return DailyProfiles("faraday", kwh, month + 1, day_of_week, segment, self.space.segments)


def fit_faraday(profiles: DailyProfiles, options: FaradayOptions | None = None, seed: int = 0) -> Faraday:
    """Fit the autoencoder, then the mixture on its latents, then the correlation of what is left.

    Args:
        profiles: training households only; the holdout must not be among them. Where households are known, those
            that are kept for early stopping are whole households.
        options: settings.
        seed: of initial weights, batch order, latent noise, k-means.

    Raises:
        InputError: too few profiles or households, or profiles that do not vary.
        ConvergenceError: training diverged.
    """
    options = options or FaradayOptions()
    if len(profiles) < max(options.mixture.n_components, 2):
        raise InputError(
            f"faraday: expected at least as many training profiles as mixture components "
            f"({options.mixture.n_components}), got {len(profiles)}. Give more households, or lower "
            "mixture.n_components."
        )
    space = LabelSpace(profiles.segments)
    scaler = EnergyScaler.fit(profiles.kwh)
    train, watched = (_scaled(part, scaler, space) for part in _watch(profiles, options.vae.validation, seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = ProfileVae(profiles.n_steps, space.width, options.vae.latent, options.vae.hidden)
    trained = train_vae(vae, train, watched, scaler.zero, options.vae, seed)
    vae.requires_grad_(False)
    everything, labels = _scaled(profiles, scaler, space), space.matrix(profiles)

    def stream() -> Iterator[tuple[FloatArray, IntArray]]:
        for i, (_, _, z) in enumerate(_latents(vae, everything, seed)):
            yield z.double().numpy(), labels[i * _CHUNK : (i + 1) * _CHUNK]

    mixture, fitted = fit_mixture(stream, space.sizes, options.mixture, seed)
    random = torch.Generator().manual_seed(seed)
    scores = (residual_scores(vae, x, y, z, scaler.zero, random) for x, y, z in _latents(vae, everything, seed))
    residual = residual_factor(scores, profiles.n_steps)
    card = {
        "kind": "faraday",
        "data": profiles.name,
        "fingerprint": profiles.fingerprint,
        "n_profiles": len(profiles),
        "n_households": profiles.n_households if isinstance(profiles, HouseholdProfiles) else None,
        "n_steps": profiles.n_steps,
        "segments": list(space.segments),
        "scaler": asdict(scaler),
        "options": asdict(options),
        "seed": seed,
        "training": trained,
        "mixture": fitted,
        "versions": provenance()["versions"],
    }
    return Faraday(vae, mixture, residual, scaler, space, card)


def _watch(profiles: DailyProfiles, share: float, seed: int) -> tuple[DailyProfiles, DailyProfiles]:
    """Divide into what is trained on and what is watched, neither empty: by household where they are known."""
    if isinstance(profiles, HouseholdProfiles):
        # A household without a day, all of which may be test days, can neither be trained on nor watched.
        present = np.unique(profiles.household)
        if len(present) < 2:
            raise InputError(
                f"faraday: expected at least 2 households, one to train on and one for early stopping "
                f"(vae.validation), got {len(present)} in {profiles.name}. Give more, or profiles without households."
            )
        if len(present) < profiles.n_households:
            profiles = profiles.of_households(present)
        one = 1 / len(present)
        return split_households(profiles, min(max(share, one), 1 - one), seed)
    order = np.random.default_rng(seed).permutation(len(profiles))
    n_watched = min(max(1, round(share * len(profiles))), len(profiles) - 1)
    return profiles.take(np.sort(order[n_watched:])), profiles.take(np.sort(order[:n_watched]))


def _scaled(profiles: DailyProfiles, scaler: EnergyScaler, space: LabelSpace) -> ScaledProfiles:
    return ScaledProfiles(scaler.scale(profiles.kwh), space.one_hot(space.matrix(profiles)))


@torch.no_grad()
def _latents(vae: ProfileVae, profiles: ScaledProfiles, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Chunks of x, labels and a draw of the posterior; the same draw in every pass."""
    random = torch.Generator().manual_seed(seed + 2)
    for x, labels in profiles.chunks(_CHUNK):
        mean, log_variance = vae.posterior(x, labels)
        yield x, labels, mean + torch.randn(mean.shape, generator=random) * (log_variance / 2).exp()


WEIGHTS = "generator.safetensors"

_MEND = "Fit and save the generator again."


def save_faraday(model: Faraday, folder: str | Path) -> Path:
    """Write `generator.safetensors` and `card.json` into a folder, all or nothing; an earlier Faraday is replaced.

    Folder and files have mode 700 and 600 unless the model is private: what it has learnt from people is in it.

    Raises:
        InputError: the folder holds anything else.
    """
    mixture = model.mixture
    arrays = {"mixture.weights": mixture.weights, "mixture.means": mixture.means, "mixture.factors": mixture.factors}
    arrays |= {f"mixture.labels.{name}": table for name, table in zip(LABELS, mixture.labels, strict=True)}
    arrays["residual"] = model.residual
    tensors = {name: torch.from_numpy(array).contiguous() for name, array in arrays.items()}
    tensors |= {f"vae.{name}": tensor.contiguous() for name, tensor in model.vae.state_dict().items()}

    confidential = "privacy" not in model.card

    def fill(temporary: Path) -> None:
        write_safetensors(tensors, temporary / WEIGHTS, confidential=confidential)
        write_card(model.card, temporary, [WEIGHTS], confidential=confidential)

    return replace_folder(folder, fill, _require_free, confidential=confidential)


def _require_free(folder: Path) -> None:
    if not folder.exists():
        return
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else ["a file of this name"]
    ours = set(names) == {WEIGHTS, CARD} and read_json(folder / CARD).get("kind") == "faraday"
    if names and not ours:
        raise InputError(
            f"{folder}: expected no folder, an empty one or one with an earlier Faraday, got {', '.join(names[:3])}. "
            "Choose another."
        )


def load_faraday(folder: str | Path) -> Faraday:
    """Read a generator that `save_faraday` wrote.

    Raises:
        InputError: a missing or broken file; names it.
    """
    folder = Path(folder)
    card = read_card(folder, _MEND)
    tensors = read_safetensors(folder / WEIGHTS, _MEND)
    try:
        space = LabelSpace(tuple(card["segments"]))
        own = card["options"]["vae"]
        weights = {name.removeprefix("vae."): value for name, value in tensors.items() if name.startswith("vae.")}
        vae = build_to_fit(
            folder / WEIGHTS, lambda: ProfileVae(card["n_steps"], space.width, own["latent"], own["hidden"]), weights
        )
        scaler = EnergyScaler(**card["scaler"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / CARD}: not a Faraday card of this version ({error!r}).") from error
    try:
        vae.load_state_dict(weights)
        mixture = LabelledMixture(
            weights=tensors["mixture.weights"].numpy(),
            means=tensors["mixture.means"].numpy(),
            factors=tensors["mixture.factors"].numpy(),
            labels=tuple(tensors[f"mixture.labels.{name}"].numpy() for name in LABELS),
        )
        residual = tensors["residual"].numpy()
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{folder / WEIGHTS}: does not fit its card: {error}") from error
    return Faraday(vae.requires_grad_(False), mixture, residual, scaler, space, card)
