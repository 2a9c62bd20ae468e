"""Households in a NumPy archive: a matrix of Wh per half-hour, a column per household."""

from __future__ import annotations

import re
from datetime import datetime, time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unlearn.data.files import as_path, foreign_errors
from unlearn.data.identifiers import as_identifiers, require_distinct
from unlearn.data.text_tables import listed
from unlearn.errors import DataError
from unlearn.households.by_household import HouseholdProfiles, household_profiles
from unlearn.households.profiles import STEPS, ReadingReport
from unlearn.limits import require_npz

_KEYS = ("kwh_x1000", "ids", "start", "tariff", "acorn_grouped")


def read_npz(path: str | Path) -> HouseholdProfiles:
    """Read half-hourly energy of households without gaps from a NumPy archive.

    Args:
        path: `.npz` with the arrays `kwh_x1000` (T, H), whole Wh of each half-hour; `ids` (H,); `start` (1,), the
            start of the first half-hour in UTC, a midnight; `tariff` (H,) and `acorn_grouped` (H,). Names are text as
            written, and whole numbers become their digits.

    Returns:
        H households with `tariff`, and `segment` from the grouped Acorn; T / 48 days of each. A last day that is
        not complete is dropped and counted.

    Raises:
        DataError: no such file, pickled objects, missing or other arrays, or arrays that do not fit each other.
    """
    path = as_path("path", path)
    arrays = _arrays(path)
    wh = arrays["kwh_x1000"]
    if wh.ndim != 2 or not np.issubdtype(wh.dtype, np.integer) or len(wh) < STEPS:
        raise DataError(
            f"{path} kwh_x1000: expected whole Wh, half-hours by households, at least {STEPS} half-hours; got "
            f"{wh.dtype} of shape {wh.shape}."
        )
    for key in ("ids", "tariff", "acorn_grouped"):
        if arrays[key].shape != wh.shape[1:]:
            raise DataError(f"{path} {key}: expected {wh.shape[1]} values, one a household, got {arrays[key].shape}.")
    ids, tariff, segment = (
        as_identifiers(f"{path} {key}", arrays[key].tolist()) for key in ("ids", "tariff", "acorn_grouped")
    )
    require_distinct(f"{path} ids", ids, "household", any_case=False)
    if wh.size and wh.min() < 0:
        t, h = (int(i) for i in np.argwhere(wh < 0)[0])
        raise DataError(f"{path} kwh_x1000: expected at least 0, got {wh[t, h]} of {ids[h]} at half-hour {t}.")
    first = _midnight(path, arrays["start"])
    n_days, n_households = len(wh) // STEPS, wh.shape[1]
    kwh = wh[: n_days * STEPS].T.reshape(-1, STEPS).astype(np.float32) / np.float32(1000)
    households = pd.DataFrame({"household_id": ids, "segment": segment, "tariff": tariff})
    return household_profiles(
        path.stem,
        kwh,
        np.repeat(np.arange(n_households), n_days),
        first + np.tile(np.arange(n_days), n_households),
        households,
        reading=ReadingReport(
            rows=wh.size,
            incomplete_days=n_households * (len(wh) % STEPS > 0),
            households=n_households,
            days=n_households * n_days,
        ),
    )


def _arrays(path: Path) -> dict[str, NDArray]:
    with foreign_errors(path, "a NumPy archive of plain arrays", "Write it again with numpy.savez."):
        if path.is_dir():
            raise IsADirectoryError
        with path.open("rb") as stream:
            if stream.read(6) == b"\x93NUMPY":  # numpy would allocate what its header claims
                raise DataError(f"{path}: expected an archive of arrays (.npz), got a single array.")
        # Pickled arrays may run code when they are read.
        archive = np.load(path, allow_pickle=False)
        with archive:
            require_npz(path, archive)
            require_distinct(str(path), archive.files, "array", any_case=False)
            missing = [key for key in _KEYS if key not in archive]
            if missing:
                raise DataError(
                    f"{path}: expected the arrays {', '.join(_KEYS)}; missing {', '.join(missing)}, got "
                    f"{listed(archive.files) or 'none'}."
                )
            return {key: archive[key] for key in _KEYS}


def _midnight(path: Path, start: NDArray) -> np.datetime64:
    text = str(start.reshape(-1)[0]) if start.size == 1 else ""
    try:
        stamp = datetime.fromisoformat(text) if re.match(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        stamp = None
    if stamp is None or stamp.time() != time(0) or stamp.tzinfo is not None:
        raise DataError(
            f"{path} start: expected one midnight in UTC such as '2013-01-01 00:00', got {start.tolist()}. Write it so."
        )
    return np.datetime64(stamp.date(), "D")
