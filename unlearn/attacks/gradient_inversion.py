"""Gradient inversion for load forecasting: a coordinator rebuilds members' load windows from their updates.

What algebra gives is taken first (`inversion_analytic`). The rest is a search for rows whose update is the seen one
(Zhu et al. 2019, "Deep leakage from gradients"; Geiping et al. 2020, "Inverting gradients"). Local steps are simulated
and differentiated through, as in Scheliga et al. 2023 ("Dropout is not all you need to prevent gradient leakage"), not
approximated by a mean gradient. What is made for loads follows Meijer et al. 2025 ("TS-Inverse", arXiv 2503.20952):
differences from day to day, trend and quantile bounds are penalised. Beyond that paper, public loads give a Gaussian
prior in whose coordinates the search runs, which makes it the most probable row under noise of known size, and
Levenberg-Marquardt steps end it, which reach float precision where a gradient method stalls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from unlearn.attacks.inversion_analytic import ratio_windows, recover_targets
from unlearn.attacks.inversion_prior import Prior, no_prior, prior_of
from unlearn.attacks.inversion_search import DISTANCES, InversionOptions, Search
from unlearn.attacks.member_update import Loss, MemberUpdate, UpdateRule, WindowShapes, squared_error
from unlearn.checks import FloatArray, require_shape
from unlearn.errors import InputError


@dataclass(frozen=True, eq=False)
class Inversion:
    """Rows that an attacker found.

    Attributes:
        windows: shape (m n, *window), of all members in no particular order.
        targets: shape (m n, *target).
        objective: squared distance of their update from the seen one, relative to its squared norm.
        exact_windows: how many windows algebra gave.
        method: "analytic" where it gave all, else "search".
    """

    windows: FloatArray
    targets: FloatArray
    objective: float
    exact_windows: int
    method: str


def invert_update(
    model: nn.Module,
    loss: Loss | None,
    update: Sequence[ArrayLike],
    shapes: WindowShapes,
    *,
    rule: UpdateRule | None = None,
    known: ArrayLike | None = None,
    public: tuple[ArrayLike, ArrayLike] | None = None,
    prior: Prior | None = None,
    options: InversionOptions | None = None,
    seed: int = 0,
) -> Inversion:
    """Find rows whose update is the one that was seen.

    >>> from unlearn.attacks import make_update
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 24))
    >>> window, target = np.random.default_rng(0).gamma(2.0, 0.3, (1, 24, 2)), np.ones((1, 24))
    >>> found = invert_update(model, None, make_update(model, window, target), WindowShapes(1, (24, 2), (24,)))
    >>> found.method, np.allclose(found.windows, window), np.allclose(found.targets, target)
    ('analytic', True, True)

    Args:
        model: the forecaster at the weights that all know; see `MemberUpdate` for which models will do.
        loss: of a batch; None is the mean squared error, of which alone targets follow by algebra.
        update: one array for each trained parameter, in the model's order: of one member, or the mean over the members.
        shapes: of the rows of one member.
        rule: how updates are made; one gradient of one member without it.
        known: public features of all rows, shape (m n, F).
        public: windows and targets of other households, from which the prior is made unless one is given.
        prior: what is guessed of rows.
        options: of the search.
        seed: of the starting points.

    Raises:
        InputError: shapes that do not fit, NaN, or an update of zeros.
    """
    options, rule = options or InversionOptions(), rule or UpdateRule()
    made_of = MemberUpdate(model, loss or squared_error, shapes, rule, known)
    seen = made_of.checked(update)
    if not float(seen.norm()) > 0:
        raise InputError("update: expected one that differs from zero, got zeros, which tell of no row.")
    if prior is None:
        prior = prior_of(*public, shapes) if public is not None else no_prior(shapes)
    rows, k = made_of.n_rows, shapes.n_window + shapes.n_target
    require_shape("prior.mean", np.broadcast_to(prior.mean, (rows, prior.mean.shape[-1])), (rows, k))
    windows = ratio_windows(made_of, seen) if options.analytic else np.empty((0, *shapes.window))
    if len(windows) == rows:
        targets = recover_targets(made_of, seen, windows)
        if targets is not None:
            return Inversion(windows, targets, _mismatch(made_of, seen, windows, targets), rows, "analytic")
    search = Search(made_of, seen, prior, options, windows)
    found, outputs = search.rows(search.run(np.random.default_rng(seed)))
    best = _with_targets(made_of, seen, found.numpy(), outputs.numpy())
    return Inversion(*best, len(windows), "search")


def _with_targets(
    made_of: MemberUpdate, seen: Tensor, windows: FloatArray, targets: FloatArray
) -> tuple[FloatArray, FloatArray, float]:
    """The rows with the targets that follow from their windows, if these fit the update better."""
    objective = _mismatch(made_of, seen, windows, targets)
    implied = recover_targets(made_of, seen, windows)
    if implied is not None and (better := _mismatch(made_of, seen, windows, implied)) < objective:
        return windows, implied, better
    return windows, targets, objective


def _mismatch(made_of: MemberUpdate, seen: Tensor, windows: FloatArray, targets: FloatArray) -> float:
    with torch.no_grad():
        made = made_of(torch.from_numpy(np.ascontiguousarray(windows)), torch.from_numpy(np.ascontiguousarray(targets)))
    return float(DISTANCES["l2"](made, seen))
