"""Shadow models: pairs that learn from the same resampled rows, one with what is removed, one without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from unlearn.attacks import bootstrap_weights, fit_heads
from unlearn.checks import BoolArray, FloatArray, IntArray, short_repr
from unlearn.errors import InputError, SingularHessianError
from unlearn.forecasters import Forecaster
from unlearn.linalg import SufficientStatistics
from unlearn.services.base import HOURS, Change

#: Share of a column's norm that must be left of it beside the others for it to count as a feature of its own.
_OWN = 1e-6


@short_repr
@dataclass(frozen=True, eq=False)
class Shadows:
    """Training problems of pairs of shadow models; outputs are those that remain.

    Attributes:
        design_in: Φ with what is removed; its first D columns are those that remain, shape (n, D + more).
        design_out: Φ without it, shape (n, D).
        target_in: Y with what is removed, shape (n, B).
        target_out: Y without it, shape (n, B).
        weights_in: weights of the model before, shape (n, B).
        weights_out: weights of the model after, shape (n, B).
        draws: how often each row is drawn for each pair; 1 for rows that are removed, shape (k, n).
        outputs: positions of the B outputs among the loads that remain; where loads differ in their weights, of those
            that change.
        l2_in: regulariser of the head's summed loss, for B outputs, before.
        l2_out: the same after.
    """

    design_in: FloatArray
    design_out: FloatArray
    target_in: FloatArray
    target_out: FloatArray
    weights_in: FloatArray
    weights_out: FloatArray
    draws: FloatArray
    outputs: IntArray
    l2_in: float = 0.0
    l2_out: float = 0.0

    @property
    def inside(self) -> FloatArray:
        """Heads fitted with what is removed, in the columns that remain, shape (k, B, D)."""
        return self._heads(self.design_in, self.target_in, self.weights_in, self.l2_in)

    @property
    def outside(self) -> FloatArray:
        """Heads fitted without it, shape (k, B, D)."""
        return self._heads(self.design_out, self.target_out, self.weights_out, self.l2_out)

    @property
    def refeatured(self) -> bool:
        """Whether features of rows that remain differ, as lags do: then every model is fitted anew."""
        rows = self.weights_out.any(axis=1)
        return not np.array_equal(self.design_in[rows][:, : self.design_out.shape[1]], self.design_out[rows])

    @property
    def changed(self) -> bool:
        """Whether anything differs that heads are fitted on."""
        there = self.weights_out > 0
        same = np.array_equal(self.target_in[there], self.target_out[there])
        same = same and np.array_equal(self.weights_in, self.weights_out)
        return not same or self.refeatured or self.design_in.shape != self.design_out.shape

    def _heads(self, design: FloatArray, target: FloatArray, weights: FloatArray, l2: float) -> FloatArray:
        n_columns = self.design_out.shape[1]
        heads = np.empty((len(self.draws), target.shape[1], n_columns))
        for column, own in groups(weights):
            ridge = l2 * target.shape[1] / int(own.sum())  # the library's is in units of 1/B
            heads[:, own] = fit_heads(design, target[:, own], column * self.draws, ridge)[:, :, :n_columns]
        return heads


#: What makes shadow models forget: heads (k, B, D), from the problems and the heads that fitting without gave.
Removal = Callable[[Shadows, FloatArray], FloatArray]


def remove_exactly(shadows: Shadows, outside: FloatArray) -> FloatArray:
    """Forget as the library does: from sums of the rows, downdated, and solved; fitted anew where features change.

    Args:
        shadows: the problems.
        outside: heads fitted without what is removed, which is what fitting anew gives, shape (k, B, D).

    Returns:
        Heads, shape (k, B, D).
    """
    n_columns = shadows.design_out.shape[1]
    heads = outside.copy()
    if shadows.refeatured:
        return heads
    design, more = torch.from_numpy(shadows.design_in), shadows.design_in.shape[1] - n_columns
    both = np.concatenate([shadows.weights_in, shadows.weights_out])
    for column, own in groups(both):
        before, after = torch.from_numpy(column).chunk(2)
        old = torch.from_numpy(shadows.target_in[:, own])
        new = torch.where((after > 0)[:, None], torch.from_numpy(shadows.target_out[:, own]), old)
        changed = after != before
        ridge = 0.5 * shadows.l2_out * shadows.target_out.shape[1]
        for k, draw in enumerate(shadows.draws):
            # Rows that are drawn twice are summed up twice: whole sums have no rounding of weights.
            rows = torch.from_numpy(np.repeat(np.arange(len(draw)), draw.astype(np.int64)))
            hit = rows[changed[rows]]
            sums = SufficientStatistics.of(design[rows], old[rows], before[rows])
            if len(hit):
                sums = sums.remove(design[hit], old[hit], before[hit]).add(design[hit], old[hit], after[hit])
            sums = sums.retarget(design[rows], old[rows], new[rows], after[rows])
            try:
                found = _without_columns(sums, n_columns, more).solve(None, ridge)
            except (InputError, SingularHessianError):
                continue  # too ill-conditioned for sums; the data decides, as in the library
            if found.converged:
                heads[k, own] = found.value.numpy().reshape(-1, n_columns)
    return heads


def _without_columns(sums: SufficientStatistics, n_columns: int, more: int) -> SufficientStatistics:
    """Sums without the last columns of the design: those of withdrawn loads."""
    if not more:
        return sums
    kept = torch.cat([torch.arange(n_columns), torch.arange(n_columns + more, len(sums.rounding))])
    return SufficientStatistics(sums.moments[:, kept[:, None], kept], sums.rounding[kept], sums.total, n_columns)


def shadows_of(model: Forecaster, change: Change, after: Forecaster | None, pairs: int, seed: int = 0) -> Shadows:
    """The training problems of the shadow models of an audit; see `unlearn.services.audit.audit`.

    Args:
        model: the forecaster before.
        change: what is removed.
        after: the forecaster that forgot, or None.
        pairs: how many are drawn.
        seed: of the draws.

    Raises:
        InputError: as `audit` does.
    """
    rows = model.training_rows(change.before)
    later = (after or model).training_rows(change.after)
    if not len(rows) or not np.array_equal(rows, later):
        raise InputError(
            f"audit: expected a head that is fitted on the same rows before and after, got {len(rows)} and "
            f"{len(later)}. A network that was trained as a whole, or a split that changed, cannot be audited so."
        )
    outputs, design_in, design_out = _designs(model, change, after, rows)
    weights_in = model.weights.numpy()[:, outputs]
    weights_out = _weights_after(model, change, after, rows, outputs, weights_in)
    target_in, target_out = change.before.load_pu[rows][:, outputs], change.after.load_pu[rows]
    kept = weights_out.any(axis=0)
    if not kept.any():
        raise InputError("audit: expected measurements that remain, got none: there is no model afterwards.")
    if len(groups(np.concatenate([weights_in, weights_out])[:, kept])) > 1 and design_in.shape == design_out.shape:
        # A problem for each group of outputs is dear: those that stay as they are tell next to nothing.
        differs = (weights_in != weights_out) | ((target_in != target_out) & (weights_out > 0))
        moved = differs.any(axis=0) | bool((design_in != design_out)[weights_out.any(axis=1)].any())
        kept &= moved if (kept & moved).any() else True
    draws = bootstrap_weights(len(rows), pairs, seed)
    draws[:, ((weights_in > 0) & (weights_out == 0)).any(axis=1)] = 1.0  # they are in, or not
    # The regulariser is in units of the mean over outputs; those that are not audited count, too.
    l2_in = model.card.l2 * len(model.head) / int(kept.sum())
    l2_out = model.card.l2 * change.after.n_loads / int(kept.sum())
    found = Shadows(
        design_in,
        design_out,
        target_in=target_in[:, kept],
        target_out=target_out[:, kept],
        weights_in=weights_in[:, kept],
        weights_out=weights_out[:, kept],
        draws=draws,
        outputs=np.flatnonzero(kept),
        l2_in=l2_in,
        l2_out=l2_out,
    )
    if not found.changed:
        raise InputError("audit: expected a change of what the head was fitted on, got none; nothing was in it.")
    return found


def _designs(
    model: Forecaster, change: Change, after: Forecaster | None, rows: IntArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Positions before of the outputs that remain; designs before and after, in the columns of the model after."""
    names = list(change.before.load_names)
    outputs = np.array([names.index(own) for own in change.after.load_names])
    withdrawn = len(outputs) < len(names)
    if withdrawn and (after is None or not model.design_fitted_anew):
        raise InputError(
            "audit: expected a linear forecaster and, in after, the same without the withdrawn loads; got "
            f"{'no model after' if after is None else model.card.kind}. Networks are trained anew without them."
        )
    # Columns and scaler of the model after: least squares forecasts the same in whichever.
    now = after if after is not None else model
    if after is None and not withdrawn and not np.array_equal(change.before.features, change.after.features):
        now = model.fitted_anew(change.after)
    found = []
    for features in (change.before.features[rows][:, outputs], change.after.features[rows]):
        with torch.no_grad():
            found.append(now.design(torch.from_numpy(features)).numpy())
    if withdrawn:
        further = model.design_of(change.before, rows).numpy()
        found[0] = np.concatenate([found[0], further[:, _own_columns(found[0], further)]], axis=1)
    return outputs, found[0], found[1]


def _own_columns(design: FloatArray, further: FloatArray) -> BoolArray:
    """Which further columns are no combination of those of the design, or of earlier further ones."""
    joined = np.concatenate([design, further], axis=1)
    left = np.abs(np.diag(np.linalg.qr(joined, mode="r")))
    return np.asarray(left > _OWN * np.linalg.norm(joined, axis=0))[design.shape[1] :]


def _weights_after(
    model: Forecaster,
    change: Change,
    after: Forecaster | None,
    rows: IntArray,
    outputs: IntArray,
    weights: FloatArray,
) -> FloatArray:
    """Weights of the rows for the outputs that remain, 0 on hours that are removed, shape (n, B)."""
    left = weights.copy()
    if change.subject == HOURS:
        names = change.after.load_names
        hit = np.array([change.loads is None or own in change.loads for own in names])
        left[np.ix_(np.isin(rows, change.rows), hit)] = 0.0
    if after is not None:
        left = np.minimum(left, after.weights.numpy())
    return left


def groups(weights: FloatArray) -> list[tuple[FloatArray, BoolArray]]:
    """Outputs that share their weights (n, B): the weights, shape (n,), and which outputs, shape (B,)."""
    columns, group = np.unique(weights, axis=1, return_inverse=True)
    return [(column, group.reshape(-1) == place) for place, column in enumerate(columns.T)]
