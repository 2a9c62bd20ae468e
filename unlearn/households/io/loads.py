"""Data sets of loads in a folder: arrays as safetensors, meters as parquet, everything else as a JSON card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unlearn.checks import IntArray
from unlearn.data.dataset import FittedConstant, LoadDataset
from unlearn.data.features import Lag
from unlearn.data.splits import Split, SplitSpec
from unlearn.errors import DataError, InputError
from unlearn.households.customers import CustomerLoads
from unlearn.households.io.meters import load_meters
from unlearn.households.meters import InMemory, Meters
from unlearn.households.roster import Roster
from unlearn.records import read_card, read_safetensors, write_card, write_safetensors

#: Names of the files beside the card.
ARRAYS, METERS = "loads.safetensors", "meters.parquet"
#: Version of the layout; it changes when an older library could not read the folder.
FORMAT = 1

_MEND = "Save the data set again with save_loads."
_PARTS = ("train", "validation", "test", "core", "sensitive")
_SUMS = ("load_of", "sums_kwh", "members", "filled", "rescaled", "physical_kwh", "blank")
_ROSTER = "roster."


def save_loads(dataset: LoadDataset, folder: str | Path) -> Path:
    """Write a data set into a folder, with the meters of its customers, if it knows them; the card comes last.

    Of customers that are gone there is nothing in the files, neither name nor reading, but for one sum: the physical
    load, which objectors are part of for ever. Readings of hours in which a customer left or objects are not written.
    So an objector cannot leave any more once the data set was loaded; see `CustomerLoads.purged`. The files have mode
    600, and a folder that is made for them 700.

    >>> import tempfile
    >>> from unlearn.data import make_synthetic
    >>> data = make_synthetic(n_loads=2, n_hours=1000).with_lags([24])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_loads(save_loads(data, folder)).fingerprint == data.fingerprint
    True

    Raises:
        InputError: names that are no text.
        StoreError: it cannot be written.
    """
    folder = Path(folder)
    if not all(isinstance(name, str) for name in (*dataset.load_names, *dataset.feature_names, dataset.name)):
        raise InputError("dataset: expected names of loads and features that are text, got others. Rename them.")
    arrays, names, more = _arrays_of(dataset), [ARRAYS], {}
    if isinstance(dataset, CustomerLoads):
        kept = dataset.purged(folder / METERS)
        arrays |= _arrays_of_customers(kept)
        names, more = [ARRAYS, METERS], {"n_customers": len(kept.meters)}
    write_safetensors({name: torch.from_numpy(own) for name, own in arrays.items()}, folder / ARRAYS, confidential=True)
    hours = dataset.timestamps
    card = {
        "format": FORMAT,
        "name": dataset.name,
        "load_names": list(dataset.load_names),
        "feature_names": list(dataset.feature_names),
        "base_mva": float(dataset.base_mva),
        "fitted": [asdict(own) for own in dataset.fitted],
        "declared_lags": [asdict(own) for own in dataset.declared_lags],
        "shares": None if dataset.split.spec is None else asdict(dataset.split.spec),
        "unit": hours.unit,
        "freq": hours.freqstr,
        "fingerprint": dataset.fingerprint,
        **more,
    }
    write_card(card, folder, names, confidential=True)
    if METERS not in names:
        (folder / METERS).unlink(missing_ok=True)  # of another data set that was here
    return folder


def load_loads(folder: str | Path, *, in_memory: bool = False) -> LoadDataset:
    """Read a data set that `save_loads` wrote: the same arrays and the same fingerprint.

    Args:
        folder: of the data set.
        in_memory: whether readings of meters are read now, such that the folder may go; else they stay in its file
            until they are asked for.

    Returns:
        `CustomerLoads` where such were saved.

    Raises:
        DataError: a missing or damaged file; names it and says what to do.
    """
    folder = Path(folder)
    card = read_card(folder, _MEND)
    arrays = {name: own.numpy() for name, own in _checked(folder, card).items()}
    try:
        own = _base(card, arrays)
        if "n_customers" in card:
            dataset: LoadDataset = _with_customers(folder, card, own, arrays, in_memory)
        else:
            dataset = LoadDataset(**own)
    except DataError:
        raise
    except (InputError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(
            f"{folder}: expected a data set of this version, got one that does not fit ({error}). {_MEND}"
        ) from error
    if dataset.fingerprint != card["fingerprint"]:
        raise DataError(
            f"{folder}: expected the data set that its card names, with fingerprint {str(card['fingerprint'])[:12]}, "
            f"got {dataset.fingerprint[:12]}. {_MEND}"
        )
    return dataset


def _checked(folder: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    if card.get("format") != FORMAT:
        raise DataError(f"{folder}: expected a data set of format {FORMAT}, got {card.get('format')}. {_MEND}")
    return read_safetensors(folder / ARRAYS, _MEND)


def _arrays_of(dataset: LoadDataset) -> dict[str, np.ndarray]:
    return {
        "features": np.ascontiguousarray(dataset.features),
        "load_mw": np.ascontiguousarray(dataset.load_mw),
        "history_mw": np.ascontiguousarray(dataset.history_mw),
        "hours": dataset.timestamps.asi8.copy(),
        **{f"split.{name}": np.asarray(getattr(dataset.split, name), dtype=np.int64).copy() for name in _PARTS},
    }


def _base(card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fields of `LoadDataset`, which every data set has."""
    spec = None if card["shares"] is None else SplitSpec(**card["shares"])
    return {
        "name": card["name"],
        "features": arrays["features"],
        "load_mw": arrays["load_mw"],
        "timestamps": pd.DatetimeIndex(arrays["hours"].view(f"M8[{card['unit']}]"), freq=card["freq"]),
        "load_names": tuple(card["load_names"]),
        "feature_names": tuple(card["feature_names"]),
        "split": Split(**{name: arrays[f"split.{name}"] for name in _PARTS}, spec=spec),
        "base_mva": card["base_mva"],
        "fitted": tuple(FittedConstant(**own) for own in card["fitted"]),
        "declared_lags": tuple(Lag(**{**own, "hours": tuple(own["hours"])}) for own in card["declared_lags"]),
        "history_mw": arrays["history_mw"],
    }


def _arrays_of_customers(dataset: CustomerLoads) -> dict[str, np.ndarray]:
    """What the customers' part of a purged data set holds beside the readings."""
    roster, meters = dataset.roster, dataset.meters
    who = np.array(sorted(roster.states), dtype=np.int64)
    none = np.zeros((0, len(meters.hours)), dtype=np.int8)
    shown = [own for i, own in enumerate(meters.digests) if i not in roster.states]
    return {
        "mw_per_kwh": np.ascontiguousarray(dataset.mw_per_kwh),
        **{_ROSTER + name: np.ascontiguousarray(getattr(roster, name)) for name in _SUMS},
        f"{_ROSTER}changed": who,
        f"{_ROSTER}states": np.stack([roster.states[int(i)] for i in who]) if len(who) else none,
        f"{_ROSTER}digests": _packed([roster.digests[int(i)] for i in who]),
        # Of meters that were cut to some hours, the hash is not that of what is written; of hidden readings none is.
        "digests": _packed(shown),
    }


def _with_customers(
    folder: Path, card: Mapping[str, Any], own: Mapping[str, Any], arrays: Mapping[str, np.ndarray], in_memory: bool
) -> CustomerLoads:
    sums = {name: arrays[_ROSTER + name] for name in _SUMS}
    who = arrays[f"{_ROSTER}changed"].tolist()
    states = dict(zip(who, arrays[f"{_ROSTER}states"], strict=True))
    digests = dict(zip(who, _unpacked(arrays[f"{_ROSTER}digests"]), strict=True))
    meters = load_meters(folder / METERS)
    shown = np.setdiff1d(np.arange(len(meters)), who)
    if len(meters) != card["n_customers"]:
        raise DataError(f"{folder / METERS}: expected {card['n_customers']} customers, got {len(meters)}. {_MEND}")
    # Not by way of a plain data set: lags hold what models may learn, validation and test rows the physical load.
    return CustomerLoads(
        **own,
        meters=_as_saved(meters, shown, _unpacked(arrays["digests"]), in_memory),
        mw_per_kwh=arrays["mw_per_kwh"],
        roster=Roster(**sums, states=states, digests=digests),
    )


def _as_saved(meters: Meters, shown: IntArray, digests: list[str], in_memory: bool) -> Meters:
    own = list(meters.digests)
    for i, digest in zip(shown.tolist(), digests, strict=True):
        own[i] = digest
    source = InMemory(meters.source.read(0, len(meters))) if in_memory else meters.source
    return replace(meters, digests=tuple(own), source=source)


def _packed(digests: list[str]) -> np.ndarray:
    """Hashes as bytes, shape (k, 32)."""
    return np.frombuffer(bytes.fromhex("".join(digests)), dtype=np.uint8).reshape(-1, 32).copy()


def _unpacked(digests: np.ndarray) -> list[str]:
    return [own.tobytes().hex() for own in digests]
