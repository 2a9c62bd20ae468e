"""Where a frozen extractor comes from that saw no row of the data set whose head it carries, and proof that it did not.

Only then is forgetting a row in the head forgetting it in the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unlearn.data import LoadDataset
from unlearn.data.text_tables import listed
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters.card import ModelCard

_OTHER = "extractor_from: expected another data set than {name}, the one to fit the head on"
_REMEDY = "Choose data of others (simulated customers, a release, another utility), or leave extractor_from out."

#: Common hours from which on loads are compared; in fewer, others may well have the same profile.
COMPARED_HOURS = 24

#: Largest 1 − correlation of two loads that counts as the same measurements: files round to some six digits.
SAME_LOAD = 1e-12


def origin_of(source: LoadDataset | ModelCard) -> dict[str, Any]:
    """The data set that an extractor is fitted on, in words for a model card.

    Args:
        source: that data set, or the card of a network. A network whose extractor came from elsewhere names that place.

    Returns:
        Name (`data`), `fingerprint`, and number of `customers`, None where the data set does not say who they are.
    """
    if isinstance(source, LoadDataset):
        customers = getattr(source, "customer_ids", None)
        return {
            "data": source.name,
            "fingerprint": source.fingerprint,
            # The number alone: a model of other customers need not tell who they were.
            "customers": None if customers is None else len(set(customers)),
        }
    known = {"data": source.data, "fingerprint": source.fingerprint, "customers": None}
    return dict(source.settings.get("extractor_from", known))


def as_fitted(dataset: LoadDataset, source: LoadDataset | ModelCard) -> dict[str, str]:
    """The extractor, and the scaler of its features, as a fitted constant of a model card."""
    origin, said = origin_of(source), "frozen; saw no row of this data set"
    if isinstance(source, ModelCard) and getattr(dataset, "customer_ids", None):
        said += ", but the forecaster that it was taken from does not know whose data it saw"
    return {
        "name": "extractor and feature scaler",
        "fitted_on": f"another data set ({origin['data']}, {origin['fingerprint'][:12]})",
        "description": said,
    }


def require_elsewhere(dataset: LoadDataset, source: LoadDataset | ModelCard) -> None:
    """Refuse a source whose extractor does not fit the data set, or has seen something of it.

    A card holds no loads and no customers: of a network, the fingerprint alone is compared.

    Raises:
        MismatchError: another number of loads, or other features.
        InputError: the same data set, the same loads in the same hours, or customers that both have.
    """
    n_loads, names = (
        (source.n_loads, list(source.feature_names))
        if isinstance(source, LoadDataset)
        else (len(source.load_names), source.feature_names)
    )
    if n_loads != dataset.n_loads or names != list(dataset.feature_names):
        raise MismatchError(
            f"extractor_from: expected {dataset.n_loads} loads with features {listed(dataset.feature_names)}, as "
            f"{dataset.name} has, got {n_loads} loads with features {listed(names)}. Choose as many loads and the same "
            "features, in the same order."
        )
    this = _OTHER.format(name=dataset.name)
    if origin_of(source)["fingerprint"] == dataset.fingerprint:
        raise InputError(f"{this}, got the same ({dataset.fingerprint[:12]}). {_REMEDY}")
    if not isinstance(source, LoadDataset):
        return
    mine, theirs = (set(getattr(own, "customer_ids", None) or ()) for own in (dataset, source))
    if shared := sorted(mine & theirs):
        named = ", ".join(map(str, shared[:3])) + (", ..." if len(shared) > 3 else "")
        raise InputError(
            f"extractor_from: expected other customers than those of {dataset.name}, got {len(shared)} that are in "
            f"both ({named}): what the extractor learns of them cannot be forgotten. Choose other customers, or a "
            "synthetic release."
        )
    if (same := _same_load(dataset, source)) is not None:
        own, other, n_hours = same
        raise InputError(
            f"{this}, got {source.name}, whose load {other} is load {own} in all {n_hours} hours that both have, but "
            f"for its scale. {_REMEDY}"
        )


def _same_load(dataset: LoadDataset, source: LoadDataset) -> tuple[str, str, int] | None:
    """A load of each that hold the same measurements but for unit and level, and their number of common hours.

    Another split, scale or choice of loads gives the same data set another fingerprint. Any of its rows counts, for
    validation and test rows are to be new as well; of the source, training rows, which the extractor is fitted on.
    """
    seen = source.split.train
    at = dataset.timestamps.get_indexer(source.timestamps[seen])
    n_hours = int((at >= 0).sum())
    if n_hours < COMPARED_HOURS:
        return None
    mine, theirs = (_standardised(load) for load in (dataset.load_mw[at[at >= 0]], source.load_mw[seen[at >= 0]]))
    same = np.argwhere(mine.T @ theirs > 1 - SAME_LOAD)
    return (dataset.load_names[same[0, 0]], source.load_names[same[0, 1]], n_hours) if len(same) else None


def _standardised(load: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and length 1; of a load that does not vary, zeros."""
    centred = load - load.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    return np.asarray(np.where(length > 1e-9 * np.abs(load).max(axis=0), centred / np.maximum(length, 1e-300), 0.0))
