"""Profiles as parquet files: the format of caches and of what generators release."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unlearn.checks import IntArray
from unlearn.data.files import as_path, foreign_errors
from unlearn.errors import DataError, InputError
from unlearn.households.by_household import HouseholdProfiles, with_enough_days
from unlearn.households.profiles import DailyProfiles, EnergyArray, ReadingReport
from unlearn.limits import require_footer, require_json, require_parquet
from unlearn.records import provenance
from unlearn.store import BLANK_SEAL, verify, write

#: Version of the layout; it changes when an older library could not read the file.
FORMAT = 1

_CARD = b"unlearn.profiles"
_HOUSEHOLDS = b"unlearn.households"
_SEAL = b"unlearn.seal"
_ROWS = 65_536
_TEXT = pa.dictionary(pa.int32(), pa.string())


def save_profiles(profiles: DailyProfiles, path: str | Path) -> Path:
    """Save profiles as one parquet file, all or nothing.

    A row is a profile: `household_id` and `date` (of `HouseholdProfiles` only), `month`, `day_of_week`, `segment` by
    name, and `kwh_00`, `kwh_01`, ... in kWh, float32. Any reader of parquet can use it. The footer keeps the name,
    the order of the segments, the table of households, the report of the reading and the provenance. A file with
    households has mode 600.

    Raises:
        InputError: the suffix is not `.parquet`, or two households have the same `household_id` as text.
    """
    if Path(path).suffix != ".parquet":
        raise InputError(f"{path}: expected the suffix .parquet, got {Path(path).suffix!r}.")
    owners = profiles.households if isinstance(profiles, HouseholdProfiles) else None
    if owners is not None and not owners["household_id"].astype(str).is_unique:
        raise InputError(f"{profiles.name}: expected household_id to be unique as text. Rename the households.")
    write(path, lambda file: _write(profiles, file), confidential=owners is not None, sealed=True)
    return Path(path)


def _write(profiles: DailyProfiles, file: Path) -> None:
    with ProfileWriter(file, profiles.n_steps, isinstance(profiles, HouseholdProfiles)) as writer:
        for start in range(0, len(profiles), _ROWS):
            writer.write(profiles.take(np.arange(start, min(start + _ROWS, len(profiles)))))
        owners, reading = getattr(profiles, "households", None), getattr(profiles, "reading", None)
        writer.finish(profiles.name, profiles.segments, owners, reading)


class ProfileWriter:
    """Writes profiles to a parquet file chunk by chunk; what is only known at the end goes into the footer.

    Use it in a `with` statement, on a temporary file of `store.write`, which seals it.

    Args:
        file: file to write.
        n_steps: steps of a day, S.
        of_households: whether the profiles know household and date.
    """

    def __init__(self, file: str | Path, n_steps: int, of_households: bool) -> None:
        owner = [("household_id", _TEXT), ("date", pa.date32())] if of_households else []
        labels = [("month", pa.int8()), ("day_of_week", pa.int8()), ("segment", _TEXT)]
        energy = [(column, pa.float32()) for column in energy_columns(n_steps)]
        self._schema = pa.schema([*owner, *labels, *energy])
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._kind = "household" if of_households else "daily"
        self._n_steps = n_steps

    def __enter__(self) -> ProfileWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def write(self, profiles: DailyProfiles) -> None:
        """Write a chunk."""
        owner = []
        if isinstance(profiles, HouseholdProfiles):
            ids = profiles.households["household_id"].astype(str).tolist()
            owner = [_coded(profiles.household, ids), pa.array(profiles.date, pa.date32())]
        labels = [pa.array(values, pa.int8()) for values in (profiles.month, profiles.day_of_week)]
        labels.append(_coded(profiles.segment, list(profiles.segments)))
        columns = np.asfortranarray(profiles.kwh)
        energy = [pa.array(columns[:, step]) for step in range(self._n_steps)]
        self._writer.write_table(pa.table([*owner, *labels, *energy], schema=self._schema), row_group_size=_ROWS)

    def finish(
        self,
        name: str,
        segments: tuple[str, ...],
        households: pd.DataFrame | None = None,
        reading: ReadingReport | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        """Write name, segments, households and provenance into the footer."""
        card = {
            "format": FORMAT,
            "kind": self._kind,
            "name": name,
            "segments": list(segments),
            "n_steps": self._n_steps,
            "reading": reading.to_dict() if reading else None,
            "source": dict(source or {}),
            "provenance": provenance(),
        }
        footer = {_CARD: json.dumps(card).encode(), _SEAL: BLANK_SEAL}
        if households is not None:
            footer[_HOUSEHOLDS] = _packed(households)
        self._writer.add_key_value_metadata(footer)


def load_profiles(
    path: str | Path,
    *,
    year: int | None = None,
    max_households: int | None = None,
    min_days: int = 1,
    **labels: object,
) -> DailyProfiles:
    """Load what `save_profiles` or `convert_lcl` wrote; energy of other rows than the chosen ones is never held.

    Args:
        path: the parquet file.
        year: only days of this year. This and what follows is for profiles of households.
        max_households: only the first so many households that have enough days.
        min_days: days that a household must have, after the choice of the year.
        **labels: only households whose label has this value, such as `tariff="Std"` or `segment="Affluent"`.

    Returns:
        `HouseholdProfiles`, or `DailyProfiles` where such were saved.

    Raises:
        DataError: no such file, or not one of these.
        InputError: a choice of households where none are known, a label that is not there, or no profile is left.
    """
    path = as_path("path", path)
    with foreign_errors(path, "saved profiles", "Save them again."):
        file, card = _opened(path)
        columns = energy_columns(card["n_steps"])
        if card["kind"] == "daily":
            if year is not None or max_households is not None or min_days != 1 or labels:
                raise InputError(f"{path}: expected no choice of year or households, for these profiles know neither.")
            table = file.read(["month", "day_of_week", "segment"])
            kwh = _energy(file, columns, np.ones(file.metadata.num_rows, dtype=bool))
            return DailyProfiles(card["name"], kwh, *_labels(table, card), tuple(card["segments"]))
        table = file.read(["household_id", "date", "month", "day_of_week", "segment"])
        households = _unpacked(file.metadata.metadata[_HOUSEHOLDS])
        household = _positions(table["household_id"], households["household_id"].astype(str).tolist())
        date = table["date"].to_numpy().astype("datetime64[D]")
        chosen = _with_labels(path, households, labels)[household]
        if year is not None:
            chosen &= date.astype("datetime64[Y]") == np.datetime64(str(year), "Y")
        kept, few = with_enough_days(household[chosen], len(households), min_days, max_households)
        chosen &= np.isin(household, kept)
        if not chosen.any():
            raise InputError(f"{path}: expected at least one profile of the chosen year and households, got none.")
        reading = ReadingReport(**card["reading"]) if card["reading"] else None
        if reading is not None and len(kept) < len(households):
            reading = reading.reduced_to(len(kept), int(chosen.sum()), few)
        month, day_of_week, segment = (values[chosen] for values in _labels(table, card))
        whole = len(kept) == len(households)
        return HouseholdProfiles(
            name=card["name"],
            kwh=_energy(file, columns, chosen),
            month=month,
            day_of_week=day_of_week,
            segment=segment,
            segments=tuple(card["segments"]),
            household=household[chosen] if whole else np.searchsorted(kept, household[chosen]),
            date=date[chosen],
            households=households if whole else households.iloc[kept].reset_index(drop=True),
            reading=reading,
        )


def profile_card(path: str | Path) -> dict[str, Any]:
    """Return what the footer says: kind, name, segments, steps, counts of the reading, source, provenance.

    Raises:
        DataError: no such file, or not saved profiles.
    """
    return _opened(as_path("path", path))[1]


def energy_columns(n_steps: int) -> list[str]:
    """Names of the columns of energy: kwh_00, kwh_01, ..."""
    return [f"kwh_{step:02d}" for step in range(n_steps)]


def _opened(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    return opened(
        path, _CARD, FORMAT, "saved profiles", "profiles that save_profiles wrote", "Save the profiles again."
    )


def opened(
    path: Path, key: bytes, version: int, what: str, written: str, mend: str
) -> tuple[pq.ParquetFile, dict[str, Any]]:
    """Open a parquet file of ours and read the card in its footer.

    Args:
        path: the file.
        key: of the card in the footer.
        version: of the layout that is expected.
        what: what it holds, for messages.
        written: what such a file is, and who writes it.
        mend: what to do if it is another.

    Raises:
        DataError: no such file, another table or layout, or one that was changed.
    """
    with foreign_errors(path, f"a parquet file of {what}", mend):
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 8))
            require_footer(path, stream.read())
        file = pq.ParquetFile(path)
        require_parquet(path, file.metadata, size)
        stored = file.metadata.metadata or {}
        if key not in stored:
            raise DataError(f"{path}: expected {written}, got another table.")
        require_json(path, stored[key].decode())
        card = json.loads(stored[key])
        if card["format"] != version:
            raise DataError(f"{path}: expected format {version}, got {card['format']}. {mend}")
    verify(path, mend=mend)
    return file, card


def _labels(table: pa.Table, card: Mapping[str, Any]) -> tuple[IntArray, IntArray, IntArray]:
    month, day_of_week = (table[name].to_numpy().astype(np.int64) for name in ("month", "day_of_week"))
    return month, day_of_week, _positions(table["segment"], card["segments"])


def _energy(file: pq.ParquetFile, columns: list[str], chosen: NDArray[np.bool_]) -> EnergyArray:
    """Read the chosen rows, one row group at a time."""
    kwh = np.empty((int(chosen.sum()), len(columns)), dtype=np.float32)
    filled = row = 0
    for group in range(file.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        mask = chosen[row : row + size]
        row += size
        if mask.any():
            part = file.read_row_group(group, columns=columns)
            rows = slice(filled, filled + int(mask.sum()))
            for step, column in enumerate(columns):
                kwh[rows, step] = part[column].to_numpy()[mask]
            filled = rows.stop
    return kwh


def _with_labels(path: Path, households: pd.DataFrame, labels: Mapping[str, object]) -> NDArray[np.bool_]:
    unknown = sorted(set(labels) - set(households.columns))
    if unknown:
        raise InputError(
            f"{path}: expected labels among {', '.join(map(str, households.columns))}; got {', '.join(unknown)}."
        )
    chosen = np.ones(len(households), dtype=bool)
    for label, value in labels.items():
        known = households[label].unique().tolist()
        if value not in known:
            raise InputError(f"{path} {label}: expected one of {', '.join(map(str, known))}; got {value!r}.")
        chosen &= (households[label] == value).to_numpy(dtype=bool)
    return chosen


def _coded(codes: IntArray, names: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))


def _positions(column: pa.ChunkedArray, names: list[str]) -> IntArray:
    """Position of each text of a dictionary column among `names`."""
    coded = column.unify_dictionaries().combine_chunks()
    place = pd.Index(names).get_indexer(pd.Index(coded.dictionary.to_pylist()))
    return place[coded.indices.to_numpy()].astype(np.int64)


def _packed(frame: pd.DataFrame) -> bytes:
    """Return a frame as text, with its types."""
    table = pa.Table.from_pandas(frame.reset_index(drop=True), preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return base64.b64encode(sink.getvalue())


def _unpacked(text: bytes) -> pd.DataFrame:
    with pa.ipc.open_stream(base64.b64decode(text)) as stream:
        return stream.read_all().to_pandas()
