"""A differentially private linear head: perturbed sufficient statistics of clipped rows, a household a unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, require_not_negative
from unlearn.dp.noise import Noise, NoiseSource, noise_source
from unlearn.dp.sums import Grid, clipped
from unlearn.errors import InputError


@dataclass(frozen=True, eq=False)
class ClippedSums:
    """`Σ_h mean_{i in h} r_i r_i'` of rows `r = [φ, y]` that are clipped to a norm; secret until released.

    A household adds the mean over its rows of `r r'`, whose Frobenius norm is at most clip², whatever its rows and
    however many: with or without it, the entries on and above the diagonal move by at most clip² (add or remove one
    household). Gaussian noise on them makes a head private (Dwork et al. 2014, "Analyze Gauss"; Wang 2018). Each
    household's entries are rounded to the grid of `unlearn.dp.sums`, so that sums are exact in whatever order, and
    taking a household away leaves the very sums of the others.

    Attributes:
        moments: shape (D + B, D + B), float64, multiples of the grid's width unless the clip is infinite.
        n_columns: D.
        clip: the norm that rows are clipped to.
        n_units: households that the sums hold. They are secret, too: `release` does not tell them.
    """

    moments: Tensor
    n_columns: int
    clip: float
    n_units: int

    @classmethod
    def of(cls, design: Tensor, target: Tensor, unit: IntArray, clip: float) -> ClippedSums:
        """Sum up rows.

        Args:
            design: Φ, shape (n, D).
            target: Y, shape (n, B).
            unit: household of each row, shape (n,).
            clip: norm above which a row [φ, y] is scaled down; infinity clips nothing, and is not private.

        Raises:
            InputError: shapes that do not fit, NaN or infinity, a clip that is not above 0.
        """
        if not clip > 0:
            raise InputError(
                f"clip: expected a norm above 0 (infinity clips nothing, and is not private), got {clip!r}."
            )
        rows = _clipped(design, target, unit, clip)
        order = np.argsort(unit, kind="stable")
        first = np.unique(unit[order], return_index=True)[1]
        own = [part.numpy() for part in rows[order].tensor_split(first[1:].tolist())] if len(first) else []
        return cls(_sum_of(own, rows.shape[1], clip), design.shape[1], clip, len(own))

    def remove(self, design: Tensor, target: Tensor) -> ClippedSums:
        """Return the sums without one household, given its rows: what summing up the others would give.

        Raises:
            InputError: shapes that do not fit, NaN, or no household to remove.
        """
        if self.n_units < 1:
            raise InputError("clipped sums: expected a household to remove, got sums without any.")
        rows = _clipped(design, target, np.zeros(len(design), dtype=np.int64), self.clip)
        if rows.shape[1] != len(self.moments) or not len(rows):
            raise InputError(
                f"clipped sums: expected rows with {self.n_columns} features and "
                f"{len(self.moments) - self.n_columns} targets, got shape {tuple(rows.shape)}."
            )
        own = _sum_of([rows.numpy()], rows.shape[1], self.clip)
        return ClippedSums(self.moments - own, self.n_columns, self.clip, self.n_units - 1)

    def release(self, noise_multiplier: float, noise: Noise | NoiseSource = "os", ridge: float = 20.0) -> Tensor:
        """Release a head from perturbed sums, shape (B, D).

        Each release is a Gaussian mechanism with sensitivity clip², in whole numbers as `private_sum` has them, and
        spends its ε anew.

        Args:
            noise_multiplier: σ; the noise has standard deviation σ clip². 0 releases the exact head: not private.
            noise: "os", or a source that `noise_source` gave for the data that were summed up.
            ridge: regulariser in units of the noise matrix's spectral norm, about 2 σ clip² √D; it uses no data. On
                250 simulated households 20 cost the grid least of 1, 5 and 20, for σ = 1 and 4: what noise adds to one
                household's forecast it adds to all, and a bus sums them up.

        Raises:
            InputError: a negative multiplier or ridge, a seed for data of unknown origin, or noise on sums that are
                not clipped, or not those of `of`.
        """
        require_not_negative("noise_multiplier", noise_multiplier)
        require_not_negative("ridge", ridge)
        if noise_multiplier and math.isinf(self.clip):
            raise InputError("clipped sums: expected clipped rows to make private with noise, got an infinite clip.")
        source = noise_source(noise)
        noisy = self._noisy(noise_multiplier, source) if noise_multiplier else self.moments
        scale = noise_multiplier * self.clip**2 if noise_multiplier else 0.0
        d = self.n_columns
        # Noise can turn eigenvalues negative; the ridge, and a floor as large as it, keep the solution bounded.
        values, vectors = torch.linalg.eigh(noisy[:d, :d])
        level = ridge * 2 * scale * math.sqrt(d)
        positive = (values + level).clamp_min(max(level, 1e-12 * float(values.abs().max())))
        return (vectors @ ((vectors.T @ noisy[:d, d:]) / positive[:, None])).T

    def _noisy(self, noise_multiplier: float, source: NoiseSource) -> Tensor:
        grid, size = Grid(self.clip**2), len(self.moments)
        whole = (self.moments / grid.width).numpy()[np.triu_indices(size)]
        if (whole != np.rint(whole)).any() or np.abs(whole).max() > 2**53:
            raise InputError("clipped sums: expected sums on their grid, as ClippedSums.of makes them, got others.")
        drawn = grid.noise(len(whole), noise_multiplier, source)
        noisy = [float(int(own) + more) for own, more in zip(whole, drawn, strict=True)]
        return _symmetric(np.array(noisy) * grid.width, size)


def _sum_of(households: list[FloatArray], size: int, clip: float) -> Tensor:
    """Sum over households of the mean over their rows of r r', each rounded to the grid of clip²."""
    upper = np.triu_indices(size)
    own = np.array([(rows.T @ rows / len(rows))[upper] for rows in households]).reshape(-1, len(upper[0]))
    if not math.isinf(clip):
        grid = Grid(clip**2)
        own = grid.rounded(own) * grid.width
    return _symmetric(own.sum(axis=0), size)


def _symmetric(entries: FloatArray, size: int) -> Tensor:
    """The matrix with these entries on and above its diagonal, row by row."""
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = entries
    return torch.from_numpy(matrix + np.triu(matrix, 1).T)


def _clipped(design: Tensor, target: Tensor, unit: IntArray, clip: float) -> Tensor:
    if len(design) != len(target) or len(design) != len(unit):
        raise InputError(
            f"private head: expected as many rows of features, targets and units, got {len(design)}, {len(target)} "
            f"and {len(unit)}."
        )
    rows = torch.cat([design, target], dim=1).detach().double()
    if not bool(rows.isfinite().all()):
        raise InputError("private head: expected finite features and targets, got NaN or infinity. Drop such rows.")
    return rows if math.isinf(clip) else torch.from_numpy(clipped(rows.numpy(), clip))
