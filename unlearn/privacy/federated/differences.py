"""What two totals of a federation tell of what left between them.

Whoever keeps the sums before and after a round has their difference. Sums of loads with the calendar are among them,
and so the difference holds a projection of the readings that left: at which load, how much, at which time of the day.
One customer that leaves alone is seen like this, as clearly as its mean day is a sine. Changes that are summed up in
one round are seen as their sum, load by load: they hide each other only where they are at loads of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from unlearn.checks import FloatArray, require_count
from unlearn.errors import InputError, MismatchError
from unlearn.privacy.federated.model import FederatedModel
from unlearn.privacy.federated.moments import added, negated

_DAY = ("intercept", "hour_sin", "hour_cos")


@dataclass(frozen=True)
class Revealed:
    """What is seen of the loads that left.

    Attributes:
        loads: names of the loads whose sums changed.
        mean_mw: mean load that left from each, shape (L,).
        profile_mw: load that left from each in the hours of a mean day, its first harmonic, shape (24, L).
    """

    loads: tuple[str, ...]
    mean_mw: FloatArray
    profile_mw: FloatArray


def difference_reveals(before: FederatedModel, after: FederatedModel, rows: int) -> Revealed:
    """Recover from the totals before and after a round what left in between.

    It takes the calendar of a member's rows for that of all members' rows, as it is where members have the same hours.
    Lags among the features tell more, which is not used here.

    Args:
        before: model of the earlier round.
        after: model of the later round, with the same columns.
        rows: training rows of the member that it left from; of all of them where several did.

    Returns:
        Loads, means and mean days; in MW of the member's scale.

    Raises:
        MismatchError: models of other columns; columns without the hour of the day.
        InputError: not one row.
    """
    require_count("rows", rows)
    layout = before.layout
    layout.require_same("after", after.layout)
    names = before.design.names(layout)
    if names != after.design.names(layout):
        raise MismatchError("after: expected the columns of the model before, got others. Compare updated models.")
    short = [name.rpartition(":")[2] for name in names]
    if missing := [name for name in _DAY if name not in short]:
        raise MismatchError(
            f"before: expected columns of the calendar, got none for {', '.join(missing)}. Take a linear model."
        )
    if before.statistics.total <= 0:
        raise InputError("before: expected sums of rows, got sums of none.")
    calendar = [short.index(name) for name in _DAY]
    gone = added(before.statistics, negated(after.statistics))
    d = before.statistics.n_columns
    share = rows / before.statistics.total
    gram = before.statistics.moments.sum(dim=0)[calendar][:, calendar] * share
    cross = gone.moments.sum(dim=0)[calendar, d:]
    if gone.total > 0.5:  # a whole member left, with its own calendar
        gram = gone.moments.sum(dim=0)[calendar][:, calendar]
    size = before.statistics.moments.sum(dim=0).diagonal()
    unsure = (gone.rounding[0] * gone.rounding[d:]).clamp_min(0).sqrt() + 1e-20 * (size[0] * size[d:]).sqrt()
    changed = (cross.abs() > 1e3 * unsure).any(dim=0)
    weights = torch.linalg.solve(gram, cross[:, changed]).numpy() * layout.base_mva
    hour = 2 * np.pi * np.arange(24) / 24
    basis = np.stack([np.ones(24), np.sin(hour), np.cos(hour)], axis=1)
    loads = tuple(name for name, own in zip(layout.load_names, changed.tolist(), strict=True) if own)
    return Revealed(loads, weights[0], basis @ weights)
