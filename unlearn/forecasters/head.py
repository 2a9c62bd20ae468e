"""The analytic head: its least-squares problem, the sufficient statistics that it is solved from, and clipped sums over
households that make it differentially private.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unlearn.checks import FloatArray, IntArray, require_not_negative
from unlearn.dp.noise import Grid, Noise, NoiseSource, clipped, noise_source
from unlearn.errors import InputError, SingularHessianError
from unlearn.linalg import GramOperator, Preconditioner, SufficientStatistics


class HeadObjective:
    """`L(W) = Σ_i w_i (1/B)‖W φ_i − y_i‖² + (l2/2)‖W‖²`, W of shape (B, D) flattened by rows.

    All of it in closed form and float64: losses, gradients, the Hessian `I_B ⊗ G`, and the
    minimiser for any weights. `l2` regularises the sum, not the mean.
    """

    def __init__(self, design: Tensor, target: Tensor, l2: float = 0.0, names: Sequence[str] | None = None) -> None:
        """Fix the samples.

        Args:
            design: features Φ of the head, intercept included, shape (n, D).
            target: true loads in p.u., shape (n, B).
            l2: regulariser of the sum, >= 0.
            names: names of the D columns, for messages.
        """
        if len(design) != len(target):
            raise InputError(f"design and target: expected as many rows, got {len(design)} and {len(target)}.")
        self.design = design.detach().double()
        self.target = target.detach().double()
        self.l2 = require_not_negative("l2", l2)
        self.names = names
        self.n_samples, self.n_columns = self.design.shape
        self.n_outputs = self.target.shape[1]
        self.n_parameters = self.n_outputs * self.n_columns

    def losses(self, theta: Tensor) -> Tensor:
        return self._residual(theta).square().mean(dim=1)

    def gradient(self, theta: Tensor, weights: Tensor, regularised: bool = True) -> Tensor:
        slope = (2.0 / self.n_outputs) * (weights[:, None] * self._residual(theta)).T @ self.design
        return slope.reshape(-1) + (self.l2 * theta if regularised else 0.0)

    def gradient_products(self, theta: Tensor, vector: Tensor) -> Tensor:
        direction = self.design @ self._head(vector).T
        return (2.0 / self.n_outputs) * (self._residual(theta) * direction).sum(dim=1)

    def per_sample_gradients(self, theta: Tensor) -> Tensor:
        """Gradients of every ℓ_i, shape (n, P)."""
        outer = self._residual(theta)[:, :, None] * self.design[:, None, :]
        return (2.0 / self.n_outputs) * outer.reshape(self.n_samples, -1)

    def hessian(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> GramOperator:
        return GramOperator(self.design, self.n_outputs, weights, self.l2 + damping, self.names)

    def preconditioner(self, theta: Tensor, weights: Tensor, damping: float = 0.0) -> Preconditioner:
        """The exact inverse of the Hessian, block by block."""
        return self.hessian(theta, weights, damping).preconditioner()

    def fit(self, weights: Tensor | None = None) -> Tensor:
        """Minimise L by an SVD-based least-squares solve, from the data and not from any θ.

        Args:
            weights: w >= 0, shape (n,); None means ones.

        Returns:
            θ, shape (P,).

        Raises:
            InputError: a negative or non-finite weight.
            SingularHessianError: no unique minimiser; names the dependent features.
        """
        ones = torch.ones(self.n_samples, dtype=torch.float64) if weights is None else weights.double()
        hessian = self.hessian(torch.zeros(0), ones)
        root = ones.sqrt()[:, None]
        design, target = root * self.design, root * self.target
        if self.l2:
            # (l2/2)‖W‖² in units of the loss's 1/B.
            ridge = (0.5 * self.l2 * self.n_outputs) ** 0.5 * torch.eye(self.n_columns, dtype=torch.float64)
            design = torch.cat([design, ridge])
            target = torch.cat([target, torch.zeros(self.n_columns, self.n_outputs, dtype=torch.float64)])
        solved = torch.linalg.lstsq(design, target, driver="gelsd")
        if int(solved.rank) < self.n_columns:
            hessian.solve(torch.zeros(self.n_parameters, dtype=torch.float64))
            raise SingularHessianError(f"least squares: rank {int(solved.rank)} of {self.n_columns}; use l2 > 0.")
        return solved.solution.T.reshape(-1)

    def _head(self, theta: Tensor) -> Tensor:
        return theta.reshape(self.n_outputs, self.n_columns)

    def _residual(self, theta: Tensor) -> Tensor:
        return self.design @ self._head(theta).T - self.target


PREFIX = "statistics."


@dataclass(frozen=True, eq=False)
class HeadStatistics:
    """What a head needs of its training rows to forget some of them without the others.

    One group of outputs unless single loads were forgotten, which gives them weights, and so
    statistics, of their own.

    Attributes:
        groups: statistics of each group, of all D columns; those of outputs outside the group are 0, for they may hold
            what such an output has forgotten.
        group: position in `groups` of each output, shape (B,).
    """

    groups: tuple[SufficientStatistics, ...]
    group: Tensor

    @classmethod
    def of(cls, design: Tensor, target: Tensor, weights: Tensor) -> HeadStatistics:
        """Sum up the training rows: design (n, D), target (n, B), weights (n, B)."""
        columns, group = torch.unique(weights, dim=1, return_inverse=True)
        groups = [
            SufficientStatistics.of(design, target, column).restricted(group == g) for g, column in enumerate(columns.T)
        ]
        return cls(tuple(groups), group)

    def of_output(self, output: int) -> SufficientStatistics:
        """Statistics of the group that an output is in."""
        return self.groups[int(self.group[output])]

    def members(self, outputs: Tensor) -> list[Tensor]:
        """The given outputs, by group."""
        return [outputs[self.group[outputs] == g] for g in self.group[outputs].unique()]

    def remove(
        self, design: Tensor, target: Tensor, weights: Tensor, outputs: Tensor, noise: float = 0.0
    ) -> HeadStatistics:
        """Return the statistics without some rows in some outputs; a group that is hit in part is divided.

        Args:
            design: Φ of the rows, shape (m, D).
            target: Y of the rows, shape (m, B).
            weights: their present weights, shape (m, B).
            outputs: positions of the outputs that forget them, shape (B',).
            noise: see `SufficientStatistics.remove`.
        """
        groups, group = list(self.groups), self.group.clone()
        for hit in self.members(outputs):
            old = int(self.group[hit[0]])
            left = self.groups[old].remove(design, target, weights[:, hit[0]], noise)
            if len(hit) == int((self.group == old).sum()):
                groups[old] = left
            else:
                group[hit] = len(groups)
                groups.append(left)
        return HeadStatistics(tuple(one.restricted(group == g) for g, one in enumerate(groups)), group)

    def retarget(
        self, design: Tensor, before: Tensor, after: Tensor, weights: Tensor, noise: float = 0.0
    ) -> HeadStatistics:
        """Return the statistics with other targets of the same training rows.

        Args:
            design: Φ of all training rows, shape (n, D).
            before: their targets, shape (n, B).
            after: their new targets, shape (n, B).
            weights: their present weights, shape (n, B).
            noise: see `SufficientStatistics.remove`.
        """
        groups = list(self.groups)
        for g, outputs in ((int(g), self.group == g) for g in self.group.unique()):
            column = weights[:, outputs][:, 0]
            groups[g] = groups[g].retarget(design, before * outputs, after * outputs, column, noise)
        return HeadStatistics(tuple(groups), self.group)

    def without(self, outputs: Tensor) -> HeadStatistics:
        """Return the statistics without some outputs, which have no row left: nothing of theirs is kept.

        Args:
            outputs: positions of the outputs, shape (B',).
        """
        group = self.group.clone()
        group[outputs] = len(self.groups)
        kept = [one.restricted(group == g) for g, one in enumerate(self.groups)]
        empty = SufficientStatistics(
            torch.zeros_like(kept[0].moments), torch.zeros_like(kept[0].rounding), 0.0, kept[0].n_columns
        )
        used, place = torch.unique(group, return_inverse=True)
        return HeadStatistics(tuple([*kept, empty][int(g)] for g in used), place)

    def selected(self, columns: Tensor, outputs: Tensor) -> HeadStatistics:
        """Return the statistics of some columns and some outputs alone; see `SufficientStatistics.selected`."""
        used, place = torch.unique(self.group[outputs], return_inverse=True)
        return HeadStatistics(tuple(self.groups[int(g)].selected(columns, outputs) for g in used), place)

    def difference(self, other: HeadStatistics) -> float:
        """How far two sums over the same rows are apart, of each output's own: 0 where all was summed up alike.

        Of entries (j, k) of the moments, the largest difference beyond what both know of their rounding, relative to
        `sqrt(m_jj m_kk)`.
        """
        worst = 0.0
        for output in range(len(self.group)):
            mine, theirs = self.of_output(output), other.of_output(output)
            d = mine.n_columns
            own = torch.cat([torch.arange(d), torch.tensor([d + output])])
            apart = (mine.moments - theirs.moments)[:, own[:, None], own].sum(dim=0).abs()
            unsure = 4 * (mine.rounding + theirs.rounding)[own].clamp_min(0).sqrt()
            size = torch.maximum(*(one.moments.sum(dim=0).diagonal()[own].clamp_min(0) for one in (mine, theirs)))
            beyond = (apart - unsure[:, None] * unsure).clamp_min(0)
            root = size.sqrt().clamp_min(torch.finfo(torch.float64).tiny ** 0.25)
            worst = max(worst, float((beyond / (root[:, None] * root)).max()))
        return worst

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors, for a checkpoint."""
        return {
            f"{PREFIX}moments": torch.stack([g.moments for g in self.groups]),
            f"{PREFIX}rounding": torch.stack([g.rounding for g in self.groups]),
            f"{PREFIX}total": torch.tensor([g.total for g in self.groups], dtype=torch.float64),
            f"{PREFIX}group": self.group.clone(),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], n_outputs: int, n_columns: int) -> HeadStatistics | None:
        """Take them back; None if the checkpoint has none, as those of earlier versions.

        Raises:
            InputError: tensors that are missing or do not fit the head.
        """
        found = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        if not found:
            return None
        size, count = n_outputs + n_columns, len(found.get("moments", ()))
        shapes = {
            "moments": (count, 2, size, size),
            "rounding": (count, size),
            "total": (count,),
            "group": (n_outputs,),
        }
        got = {name: tuple(value.shape) for name, value in found.items()}
        if got != shapes or not bool(((found["group"] >= 0) & (found["group"] < count)).all()):
            raise InputError(f"sufficient statistics: expected tensors of shapes {shapes}, got {got}.")
        parts = zip(found["moments"], found["rounding"], found["total"].tolist(), strict=True)
        return cls(tuple(SufficientStatistics(m, r, t, n_columns) for m, r, t in parts), found["group"])


@dataclass(frozen=True, eq=False)
class ClippedSums:
    """`Σ_h mean_{i in h} r_i r_i'` of rows `r = [φ, y]` that are clipped to a norm; secret until released.

    A household adds the mean over its rows of `r r'`, whose Frobenius norm is at most clip², whatever its rows and
    however many: with or without it, the entries on and above the diagonal move by at most clip² (add or remove one
    household). Gaussian noise on them makes a head private (Dwork et al. 2014, "Analyze Gauss"; Wang 2018). Each
    household's entries are rounded to the grid of `unlearn.dp.noise`, so that sums are exact in whatever order, and
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
