"""What the command `unlearn` reads: meters, assignments, weather, times; and the learners that it names."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unlearn.checks import require_count
from unlearn.data import FAIR
from unlearn.data.text_tables import listed
from unlearn.detectors import DETECTORS
from unlearn.errors import DataError, InputError, said, system_reason
from unlearn.forecasters import FORECASTERS, TrainingOptions
from unlearn.generators.faraday import FaradayOptions
from unlearn.grid import load_case
from unlearn.households import hourly_meters, load_households, simulate_households, spread
from unlearn.households.assignment import customer_loads
from unlearn.households.meters import Meters
from unlearn.services.base import Learner
from unlearn.services.data import KeptData
from unlearn.services.learners.certified import CertifiedLearner
from unlearn.services.learners.forecasting import ForecastLearner, TuneOptions
from unlearn.services.learners.retrained import DetectorLearner, GeneratorLearner
from unlearn.store.files import write

#: Customers of a load where nothing says how many loads there are.
_CUSTOMERS_A_LOAD = 20
#: Columns that tell Low Carbon London's layout from a table with a column per customer.
_LCL = "LCLid"


def data_of_meters(asked: Namespace) -> KeptData:
    """The loads of a file of meters, as the options of `unlearn train` say.

    Raises:
        DataError: a file that cannot be read; names it, the row and the column.
        InputError: options that contradict each other or the data.
    """
    meters = read_meters(asked.meters, asked.gaps)
    load_of: pd.Series | dict[str, str]
    if asked.assignment is not None:
        load_of = read_assignment(asked.assignment)
    else:
        wanted = load_case(asked.grid).n_loads if asked.grid else max(1, len(meters) // _CUSTOMERS_A_LOAD)
        load_of = spread(meters.customer_ids, wanted if asked.loads is None else asked.loads, asked.seed)
    weather = None if asked.weather is None else read_weather(asked.weather, meters.hours)
    dataset = customer_loads(meters, load_of, weather, split=FAIR, lags=asked.lags or None, name=asked.meters.stem)
    return KeptData.scaled(dataset, asked.grid)


def read_meters(path: Path, gaps: str) -> Meters:
    """Hourly readings of a CSV or parquet table, of Low Carbon London's layout, or of its `.npz`."""
    if path.suffix == ".npz":
        profiles = load_households("npz", path=str(path))
    elif path.is_dir() or _LCL in (first := _first_line(path)):
        profiles = load_households("lcl", path=str(path))
    else:
        if path.suffix == ".csv" and first and "timestamp" not in [own.strip(' "') for own in first.split(",")]:
            raise DataError(
                f"{path}: expected a column timestamp and one per customer, or the columns of Low Carbon London, got "
                "no column timestamp. Name the column of times so in the first line."
            )
        profiles = load_households("table", path=str(path))
    return hourly_meters(profiles, with_gaps=gaps, name=path.stem)


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.readline(1_000_000).decode("utf-8", errors="replace").strip("\ufeff\r\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {system_reason(error)}.") from error


def write_sample(path: Path, n_customers: int, n_days: int) -> int:
    """Write hourly readings of simulated customers as a CSV with a column for each; returns the number of hours.

    Raises:
        InputError: a file of that name; numbers that are too small to simulate.
    """
    require_count("customers", n_customers)
    require_count("days", n_days)
    if path.exists():
        raise InputError(f"{path}: expected a name that is free, got a file. Choose another.")
    meters = hourly_meters(simulate_households(n_customers, n_days=n_days))
    kwh = meters.series(np.arange(len(meters))).T
    table = pd.DataFrame(
        kwh.round(3), index=pd.Index(meters.hours, name="timestamp"), columns=list(meters.customer_ids)
    )
    write(path, table.to_csv().encode(), confidential=True)
    return len(table)


def read_assignment(path: Path) -> pd.Series:
    """The load of each customer, from a CSV with the columns customer and load."""
    table = _table(path)
    if list(table.columns)[:2] != ["customer", "load"]:
        raise DataError(f"{path}: expected the columns customer and load, got {listed(list(table.columns))}.")
    return pd.Series(table["load"].to_numpy(), index=table["customer"])


def read_times(path: Path) -> pd.DataFrame:
    """A table by time, from a CSV with the column timestamp, in UTC without a zone."""
    table = _table(path)
    if "timestamp" not in table:
        raise DataError(f"{path}: expected a column timestamp, got {listed(list(table.columns))}. Name it so.")
    try:
        times = pd.to_datetime(table["timestamp"], format="ISO8601")
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: expected times such as 2013-03-01 06:00, got: {said(error)}.") from error
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    return table.drop(columns="timestamp").set_index(pd.DatetimeIndex(times))


def read_weather(path: Path, hours: pd.DatetimeIndex) -> dict[str, pd.DataFrame]:
    """Weather of one place for all loads: a table per variable, at the hours of the meters."""
    table = read_times(path)
    absent = hours.difference(pd.DatetimeIndex(table.index))
    if len(absent):
        raise DataError(f"{path}: expected a row for each hour of the meters, got none for {absent[0]}. Fill it in.")
    return {name: table.loc[hours, [name]].astype(float) for name in table.columns}


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {system_reason(error)}.") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: expected a CSV table, got: {said(error)}.") from error


def learner_named(name: str, asked: Namespace) -> Learner:
    """The learner that `--model` names, with the settings of the options.

    Raises:
        InputError: an unknown name.
    """
    if name in FORECASTERS:
        tune = None if asked.tune is None else TuneOptions(asked.tune, "cost", asked.grid)
        training = TrainingOptions() if asked.epochs is None else TrainingOptions(epochs=asked.epochs)
        return ForecastLearner(name, seed=asked.seed, training=training, extractor=asked.extractor, tune=tune)
    own: Mapping[str, Callable[[], Learner]] = {
        "faraday": lambda: GeneratorLearner(_faraday(asked.epochs), asked.seed, asked.shards),
        "certified": CertifiedLearner,
    }
    if name in own:
        return own[name]()
    if name in DETECTORS:
        return DetectorLearner(name, _detector(name, asked.epochs), seed=asked.seed, shards=asked.shards)
    raise InputError(f"model: expected one of {', '.join((*FORECASTERS, *own, 'autoencoder', 'gan'))}; got {name!r}.")


def _detector(name: str, epochs: int | None) -> dict[str, Any]:
    """Settings of a detector that trains for so many epochs."""
    if epochs is None:
        return {}
    own = {field.name for field in fields(DETECTORS[name])}  # type: ignore[arg-type]
    return {"epochs": epochs} if "epochs" in own else {"training": {"epochs": epochs}}


def _faraday(epochs: int | None) -> FaradayOptions:
    options = FaradayOptions()
    return options if epochs is None else replace(options, vae=replace(options.vae, epochs=epochs))
