"""What tells a question from another: its settings, and the public groups of the customers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from unlearn.checks import IntArray, as_identifiers, require_each_once
from unlearn.data.text_tables import listed
from unlearn.errors import InputError
from unlearn.households.meters import Meters
from unlearn.privacy.release.base import Asked, Contribution, Noisy, Query, Sensitivity, View


@dataclass(frozen=True)
class Pilot(Query):
    """A rough answer to a query that is to be answered again: another question, with its own charge."""

    query: Query
    name: str = field(default="pilot", init=False)
    unit: str = field(default="kwh", init=False)
    step: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        for name in ("unit", "step"):
            object.__setattr__(self, name, getattr(self.query, name))
        object.__setattr__(self, "name", f"pilot_{self.query.name}")

    def cells(self, view: View) -> pd.DataFrame:
        return self.query.cells(view)

    def summed(self, steps: IntArray, group: IntArray, view: View) -> IntArray:
        return self.query.summed(steps, group, view)

    def sensitivity(self, contribution: Contribution, view: View) -> Sensitivity:
        return self.query.sensitivity(contribution, view)

    def answered(self, totals: IntArray, asked: Asked) -> Noisy:
        return self.query.answered(totals, asked)


def grouped(
    meters: Meters, groups: Mapping[str, str] | None, names: Sequence[str] | None
) -> tuple[tuple[str, ...], IntArray]:
    """Names of all groups, and the position of each customer's, shape (C,)."""
    if groups is None:
        if names is not None:
            raise InputError("group_names: expected groups beside them, got names alone. Pass groups=.")
        return ("all",), np.zeros(len(meters), dtype=np.int64)
    if not isinstance(groups, Mapping):
        raise InputError(f"groups: expected a group for each customer by name, got {type(groups).__name__}.")
    known = as_identifiers("group_names", sorted({str(own) for own in groups.values()}) if names is None else names)
    require_each_once("group_names", known)
    place = {own: i for i, own in enumerate(known)}
    if unknown := sorted({str(own) for own in groups.values()} - place.keys()):
        raise InputError(f"groups: expected groups of group_names, got others: {listed(unknown)}. Name them all.")
    own = [groups.get(customer) for customer in meters.customer_ids]
    if None in own:
        raise InputError(
            "groups: expected a group for each customer of the meters, got none for some. Give them one, such as "
            "'other', or choose customers with meters.take(positions)."
        )
    return tuple(known), np.array([place[str(group)] for group in own], dtype=np.int64)


def digest(what: object) -> str:
    """A hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(_alike(what), sort_keys=True, default=str).encode()).hexdigest()


def _alike(what: object) -> object:
    """The same with floats for whole numbers, as 20 and 20.0 are one threshold."""
    if isinstance(what, Mapping):
        return {str(key): _alike(own) for key, own in what.items()}
    if isinstance(what, list | tuple):
        return [_alike(own) for own in what]
    return float(what) if isinstance(what, int | np.number) and not isinstance(what, bool) else what
