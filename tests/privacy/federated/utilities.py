"""Small utilities of simulated households, a federation of them, and what pooling their rows gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from unlearn.checks import FloatArray
from unlearn.data import LoadDataset
from unlearn.households import CustomerLoads, customer_loads, hourly_meters, simulate_households, spread
from unlearn.privacy.federated import Design, LocalChannel, Utility
from unlearn.privacy.federated.identity import Identity, Roster

NAMES = ("north", "south", "west", "east")
NOMINAL_MW = (20.0, 30.0)


@cache
def loads(place: int, n_days: int = 20) -> CustomerLoads:
    """Eight households at two loads, with lags, so that a customer is in the features as well."""
    meters = hourly_meters(simulate_households(8 * len(NAMES), n_days=n_days))
    own = meters.take(np.arange(8 * place, 8 * place + 8))
    return customer_loads(own, spread(own.customer_ids, 2), lags=[24, 168]).scaled_to(NOMINAL_MW)


def federation(
    data: Sequence[LoadDataset] | None = None,
    names: Sequence[str] = NAMES,
    lost: Callable[[str, str, int], bool] = lambda task, member, before: False,
    full: bool = False,
) -> tuple[dict[str, Utility], LocalChannel]:
    given = [loads(i) for i in range(len(names))] if data is None else data
    keys = [Identity.new() for _ in names]
    roster = Roster({name: key.public for name, key in zip(names, keys, strict=True)})
    members = {name: Utility(name, own) for name, own in zip(names, given, strict=True)}
    parties = [one.party(key, roster) for one, key in zip(members.values(), keys, strict=True)]
    return members, LocalChannel(parties, lost, full)


def stacked(data: Sequence[LoadDataset], design: Design) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and loads in p.u. of all training rows."""
    features = torch.cat([design.rows(own.features[own.split.train], checked=False) for own in data])
    return features, torch.cat([torch.from_numpy(own.load_pu[own.split.train]) for own in data])


def pooled(data: Sequence[LoadDataset], design: Design, how: str = "lstsq") -> FloatArray:
    """The head of all rows, solved from the rows themselves, standardised, by an SVD or by QR."""
    rows, target = stacked(data, design)
    mean = rows.mean(dim=0)
    mean[-1] = 0.0
    scale = (rows - mean).norm(dim=0)
    scaled = (rows - mean) / scale
    if how == "lstsq":
        found = torch.linalg.lstsq(scaled, target, driver="gelsd").solution
    else:
        q, r = torch.linalg.qr(scaled)
        found = torch.linalg.solve_triangular(r, q.T @ target, upper=True)
    head = found / scale[:, None]
    head[-1] -= mean @ head
    return head.T.numpy()


def distance(found: FloatArray, expected: FloatArray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
