"""What Faraday's network sees and gives back: labels as vectors, scaled energy, residuals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, short_repr
from unlearn.errors import InputError
from unlearn.generators.faraday.vae import ProfileVae
from unlearn.households.profiles import DailyProfiles, EnergyArray

#: Labels in the order of the columns of a label matrix.
LABELS = ("month", "day_of_week", "segment")


@dataclass(frozen=True)
class LabelSpace:
    """The values that labels can take; a label matrix (N, 3) holds positions that count from 0.

    Attributes:
        segments: names of the segments.
    """

    segments: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Values of each label: months, days of the week, segments."""
        return (12, 7, len(self.segments))

    @property
    def width(self) -> int:
        """Columns of the one-hot form."""
        return sum(self.sizes)

    def matrix(self, profiles: DailyProfiles) -> IntArray:
        """Label matrix of profiles with the same segments, shape (N, 3).

        Raises:
            InputError: other segments.
        """
        if profiles.segments != self.segments:
            raise InputError(
                f"{profiles.name} segments: expected {list(self.segments)}, as fitted, got {list(profiles.segments)}."
            )
        return np.stack([profiles.month - 1, profiles.day_of_week, profiles.segment], axis=1)

    def wanted(self, month: ArrayLike, day_of_week: ArrayLike, segment: ArrayLike | Sequence[str]) -> IntArray:
        """Label matrix of labels that somebody asks for; numbers and single values are broadcast.

        Args:
            month: 1 to 12.
            day_of_week: 0 (Monday) to 6.
            segment: names, or positions among the segments.

        Raises:
            InputError: a label that is not known, or lengths that do not go together.
        """
        names = np.asarray(segment)
        if names.dtype.kind in "UO":
            unknown = sorted({str(name) for name in names.ravel().tolist() if name not in self.segments})
            if unknown:
                raise InputError(f"segment: expected among {', '.join(self.segments)}; got {', '.join(unknown)}.")
            names = np.searchsorted(self.segments, names, sorter=np.argsort(self.segments))
            names = np.argsort(self.segments)[names]
        columns = [np.asarray(month) - 1, np.asarray(day_of_week), names]
        try:
            matrix = np.stack(np.broadcast_arrays(*map(np.atleast_1d, columns)), axis=1)
        except ValueError as error:
            raise InputError(f"labels: expected one length for month, day_of_week and segment ({error}).") from error
        for column, (label, size) in enumerate(zip(LABELS, self.sizes, strict=True)):
            values = matrix[:, column]
            if not np.issubdtype(matrix.dtype, np.integer) or (values < 0).any() or (values >= size).any():
                first = 1 if label == "month" else 0
                raise InputError(f"{label}: expected whole numbers from {first} to {size - 1 + first}.")
        return matrix.astype(np.int64)

    def one_hot(self, matrix: IntArray) -> Tensor:
        """One-hot form of a label matrix, shape (N, width), float32."""
        columns = torch.from_numpy(np.ascontiguousarray(matrix))
        return torch.cat([F.one_hot(columns[:, i], size) for i, size in enumerate(self.sizes)], dim=1).float()


@short_repr
@dataclass(frozen=True)
class EnergyScaler:
    """`x = (sqrt(kWh) − mean) / sd` with one mean and one standard deviation, learnt from training households.

    The square root draws in the long tail of household loads without stretching standby near zero, as a logarithm
    would: errors there would decide over the fit, and its inverse would turn them into absurd peaks.

    Attributes:
        mean: of the square roots.
        sd: of the square roots.
    """

    mean: float
    sd: float

    @classmethod
    def fit(cls, kwh: EnergyArray) -> EnergyScaler:
        """Learn mean and standard deviation.

        Raises:
            InputError: all energies are equal.
        """
        roots = np.sqrt(kwh)
        mean, sd = float(roots.mean(dtype=np.float64)), float(roots.std(dtype=np.float64))
        if not sd > 1e-9 * max(mean, 1e-9):
            raise InputError(f"faraday: expected profiles that vary, got {mean**2:.4g} kWh in every step.")
        return cls(mean, sd)

    @property
    def zero(self) -> float:
        """The scaled value of 0 kWh."""
        return -self.mean / self.sd

    def scale(self, kwh: EnergyArray) -> Tensor:
        """Scaled energy, float32."""
        return torch.from_numpy(((np.sqrt(kwh) - self.mean) / self.sd).astype(np.float32))

    def unscale(self, x: Tensor) -> EnergyArray:
        """Energy in kWh, clipped at zero."""
        return (x.double() * self.sd + self.mean).clamp_min(0).square().float().numpy()


#: Scores are held within what quantiles near 0 and 1 can tell apart.
_LIMIT = 4.0


def residual_scores(
    vae: ProfileVae, x: Tensor, labels: Tensor, z: Tensor, zero: float, random: torch.Generator
) -> Tensor:
    """Standard normal score of each step of scaled profiles given their latents, shape (n, S).

    Zero is where meters censor, so a step at zero stands for every score up to the one that reaches it: one of
    them is drawn.
    """
    scores = vae.score_of(vae.quantiles(z, labels), x).clamp(-_LIMIT, _LIMIT)
    level = torch.special.ndtr(scores) * torch.rand(scores.shape, generator=random).clamp_min(1e-6)
    drawn = torch.special.ndtri(level).clamp(-_LIMIT, _LIMIT)
    return torch.where(x <= zero + 1e-6, drawn, scores)


def residual_factor(scores: Iterable[Tensor], n_steps: int) -> FloatArray:
    """Lower Cholesky factor of the correlation of scores between steps (a Gaussian copula), shape (S, S).

    Args:
        scores: chunks of shape (n, S); only their sums are kept.
        n_steps: S.
    """
    count, total, outer = 0, np.zeros(n_steps), np.zeros((n_steps, n_steps))
    for chunk in scores:
        values = chunk.double().numpy()
        count += len(values)
        total += values.sum(axis=0)
        outer += values.T @ values
    covariance = outer / count - np.outer(total, total) / count**2
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    # A little identity keeps the factor defined where steps never differ.
    correlation = 0.999 * covariance / np.outer(sd, sd) + 0.001 * np.eye(n_steps)
    np.fill_diagonal(correlation, 1.0)
    return np.linalg.cholesky(correlation)
