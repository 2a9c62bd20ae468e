import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import DataError, InputError
from unlearn.households.buildings import read_lead
from unlearn.households.io.sources import load_buildings

HEADER = "timestamp,building_id,meter_reading,anomaly\n"


def written(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "train.csv"
    path.write_text(header + rows)
    return path


def test_the_documented_layout_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "2016-01-01 00:00:00,1,59.0,0\n2016-01-01 00:00:00,32,79.5,0\n2016-01-01 01:00:00,1,,1\n"
        "2016-01-01 02:00:00,1,60.5,1\n2016-01-01 03:00:00,32,80,0\n",
    )
    series = load_buildings("lead", path=path)
    assert series.buildings == ("1", "32")
    assert series.hours[0] == np.datetime64("2016-01-01T00")
    assert series.n_hours == 4
    np.testing.assert_array_equal(series.kwh, [[59, np.nan, 60.5, np.nan], [79.5, np.nan, np.nan, 80]])
    # A missing reading has no label, whatever the file says.
    np.testing.assert_array_equal(series.anomaly, [[False, False, True, False], [False] * 4])


def test_without_labels_there_are_none(tmp_path: Path) -> None:
    path = written(tmp_path, "2016-01-01 00:00:00,1,59.0\n", "timestamp,building_id,meter_reading\n")
    assert read_lead(path).anomaly is None


@given(st.integers(1, 4), st.integers(1, 30), st.floats(0, 0.6), st.integers(0, 2**32 - 1))
def test_any_table_in_any_order_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, m: int, t: int, gaps: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    kwh = random.random((m, t)).round(3)
    anomaly = random.random((m, t)) < 0.2
    kept = random.random((m, t)) >= gaps
    kept[:, [0, -1]] = True  # the file's first and last hour, and every building
    building, hour = np.nonzero(kept)
    table = pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2016-02-28") + pd.to_timedelta(hour, "h"),
            "building_id": building + 100,
            "meter_reading": kwh[building, hour],
            "anomaly": anomaly[building, hour].astype(int),
        }
    )
    path = tmp_path_factory.mktemp("lead") / "train.parquet"
    table.sample(frac=1, random_state=seed % 1000).to_parquet(path)
    series = read_lead(path)
    order = np.argsort([int(name) for name in series.buildings])
    np.testing.assert_array_equal(series.kwh[order], np.where(kept, kwh, np.nan))
    np.testing.assert_array_equal(series.anomaly[order], anomaly & kept)


def test_the_first_buildings_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "2016-01-01 00:00:00,7,1,0\n2016-01-01 00:00:00,3,2,0\n2016-01-01 01:00:00,7,3,0\n")
    with caplog.at_level(logging.INFO):
        series = read_lead(path, max_buildings=1)
    assert series.buildings == ("7",)
    np.testing.assert_array_equal(series.kwh, [[1, 3]])
    assert "1 buildings, 2 hours, 2 readings" in caplog.text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "got no row"),
        ("2016-01-01 00:00:00,1,59,0\nsoon,1,60,0\n", r"expected a time, got 'soon' in column timestamp at row 3"),
        (
            "2016-01-01 00:30:00,1,59,0\n",
            r"expected full hours, got .2016-01-01 00:30:00. in column timestamp at row 2",
        ),
        ("2016-01-01 00:00:00,1,much,0\n", r"expected a number of kWh .* got 'much' .*at row 2"),
        ("2016-01-01 00:00:00,1,inf,0\n", r"expected a number of kWh"),
        ("2016-01-01 00:00:00,1,59,2\n", r"expected 0 \(normal\) or 1 .* got .*2.* at row 2"),
        (
            "2016-01-01 00:00:00,1,59,0\n2016-01-01 01:00:00,1,59,\n",
            r"got a blank in column anomaly at row 3; 1 such values",
        ),
        ("2016-01-01 00:00:00,,59,0\n", r"expected a name, got a blank in column building_id at row 2"),
        (
            "2016-01-01 00:00:00,1,59,0\n2016-01-01 01:00:00,1,59,0\n2016-01-01 00:00:00,1,60,0\n",
            r"each hour of a building once, got 2016-01-01 00:00:00 of building 1 again at row 4",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_lead(written(tmp_path, rows))


def test_missing_files_and_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_lead(tmp_path / "none.csv")
    with pytest.raises(DataError, match="missing meter_reading"):
        read_lead(written(tmp_path, "2016-01-01,1\n", "timestamp,building_id\n"))
    with pytest.raises(InputError, match="expected one of lead, lcl, npz, simulator, table; got 'leads'"):
        load_buildings("leads")
    with pytest.raises(InputError, match="expected the options path"):
        load_buildings("lead")
