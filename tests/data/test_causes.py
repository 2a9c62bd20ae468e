"""Refusals of readers name the cause: a stray row, the clock change, another step, another unit, a register."""

import logging

import numpy as np
import pandas as pd
import pytest

from tests.households.lcl_builder import HEADER, days_of, write
from unlearn.data import read_tables
from unlearn.errors import DataError
from unlearn.households import read_lcl, read_lead, read_wide


def wide(folder, times, **columns):
    frame = pd.DataFrame({"timestamp": pd.DatetimeIndex(times).strftime("%Y-%m-%d %H:%M"), **(columns or {"a": 0.1})})
    frame.to_csv(folder / "wide.csv", index=False)
    return folder / "wide.csv"


def test_a_stray_row_is_left_out_and_counted(tmp_path, caplog):
    times = pd.date_range("2013-01-01", periods=240, freq="30min")
    stray = sorted([*times, pd.Timestamp("2013-01-03 12:15")])
    with caplog.at_level(logging.WARNING):
        read = read_wide(wide(tmp_path, stray, a=0.1, b=np.where(np.arange(241) == 121, np.nan, 0.2)))
    assert len(read.days) == 5
    assert read.reading.rows == 482
    assert read.reading.off_the_half_hour + read.reading.null == 2
    assert "1 rows off the steps of 30 min are left out, first 2013-01-03 12:15:00" in caplog.text
    hours = sorted([*pd.date_range("2013-01-01", periods=48, freq="h"), pd.Timestamp("2013-01-01 12:15")])
    with pytest.raises(DataError, match=r"2013-01-01 12:15.* at row 15; 1 such values. It lies between two hours"):
        read_tables(wide(tmp_path, hours), {})


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_the_hour_that_comes_twice_is_the_clock_change(tmp_path, minutes):
    utc = pd.date_range("2016-10-29 12:00", periods=48 * 60 // minutes, freq=f"{minutes}min", tz="UTC")
    local = utc.tz_convert("Europe/Berlin").tz_localize(None)
    with pytest.raises(DataError, match="clock change of 2016-10-30 in local time: write the times in UTC"):
        read_wide(wide(tmp_path, local))


def test_hours_that_the_clock_leaves_out_are_the_clock_change(tmp_path):
    utc = pd.date_range("2016-03-26 12:00", periods=48, freq="h", tz="UTC")
    local = utc.tz_convert("Europe/Berlin").tz_localize(None)
    with pytest.raises(DataError, match=r"it follows a gap; 1 such rows.*clock change of 2016-03-27"):
        read_tables(wide(tmp_path, local), {})
    plain = pd.date_range("2016-06-01", periods=48, freq="h").delete(20)
    with pytest.raises(DataError, match="it follows a gap; 1 such rows") as refused:
        read_tables(wide(tmp_path, plain), {})
    assert "clock change" not in str(refused.value)


def test_a_building_s_hour_that_comes_twice_is_the_clock_change(tmp_path):
    utc = pd.date_range("2016-10-29 12:00", periods=48, freq="h", tz="UTC")
    local = utc.tz_convert("Europe/Berlin").tz_localize(None).strftime("%Y-%m-%d %H:%M")
    pd.DataFrame({"timestamp": local, "building_id": "7", "meter_reading": 1.5}).to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(DataError, match=r"each hour of a building once.*clock change of 2016-10-30"):
        read_lead(tmp_path / "l.csv")


@pytest.mark.parametrize(
    ("freq", "said"),
    [
        ("15min", "got steps of 15 min .*Average"),
        ("30min", "got steps of 30 min"),
        ("D", "got steps of 1 day .*each hour"),
    ],
)
def test_the_step_that_was_found_is_named(tmp_path, freq, said):
    with pytest.raises(DataError, match=said):
        read_tables(wide(tmp_path, pd.date_range("2016-01-01", periods=96, freq=freq)), {})


@pytest.mark.parametrize(
    ("freq", "said"), [("15min", "row per half-hour, got steps of 15 min"), ("60min", "steps of 1 h: give readings")]
)
def test_the_trial_s_step_is_named(tmp_path, freq, said):
    times = pd.date_range("2013-01-01", periods=400, freq=freq)
    rows = [f"MAC000002,Std,{time:%Y-%m-%d %H:%M:%S}.0000000, 0.1 ,ACORN-A,Affluent" for time in times]
    (tmp_path / "lcl.csv").write_text("\n".join([HEADER, *rows, ""]))
    with pytest.raises(DataError, match=said):
        read_lcl(tmp_path / "lcl.csv")


def test_times_of_the_trial_take_no_other_format(tmp_path):
    path = write(tmp_path / "lcl.csv", days_of("MAC000002"))
    path.write_text(path.read_text().replace("2012-10-12 00:00:00.0000000", "12/10/2012 00:00"))
    with pytest.raises(DataError, match=r"line 2: .* got '12/10/2012 00:00'.*Day or month may come first"):
        read_lcl(path)


def test_registers_are_no_energy_of_a_step(tmp_path):
    times = pd.date_range("2016-01-01", periods=240, freq="h")
    register = 4321.5 + np.cumsum(np.random.default_rng(0).gamma(1, 0.3, 240)).round(2)
    with pytest.raises(DataError, match=r"register .*: b \(1 of 2 meters\)\. Take the differences"):
        read_wide(wide(tmp_path, times, a=0.1, b=register))
    lead = pd.DataFrame({"timestamp": times.astype(str), "building_id": "7", "meter_reading": register})
    lead.to_csv(tmp_path / "l.csv", index=False)
    with pytest.raises(DataError, match="register"):
        read_lead(tmp_path / "l.csv")


def test_other_units_are_refused_or_warned_of(tmp_path, caplog):
    times = pd.date_range("2016-01-01", periods=96, freq="30min")
    with pytest.raises(DataError, match=r"column home 1 \[Wh\], whose title says Wh"):
        read_wide(wide(tmp_path, times, **{"home 1 [Wh]": 100.0}))
    with caplog.at_level(logging.WARNING):
        read_wide(wide(tmp_path, times, a=300.0))
    assert "if the readings are in Wh, divide them by 1000" in caplog.text


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ('"0,5"', r"decimal comma\? Write 0\.5"),
        ('"1,234"', r"decimals or thousands: write 1\.234 or 1234"),
        ('"1,234.5"', r"thousands separators: write 1234\.5"),
        ('"1.234,5"', r"decimal comma\? Write 1234\.5"),
        ("0.5 kWh", r"a unit \(kWh\)"),
        ("#REF!", "error of a spreadsheet"),
        ("\u22120.5", "minus is a typographic one: write -0.5"),
        ("1_000", "Mend it"),
    ],
)
def test_what_is_no_number_is_told_for_what_it_is(tmp_path, cell, said):
    (tmp_path / "wide.csv").write_text(
        f"timestamp,a\n2016-01-01 00:00,0.1\n2016-01-01 00:30,{cell}\n", encoding="utf-8"
    )
    with pytest.raises(DataError, match=rf"column a at row 3; 1 such values.*{said}"):
        read_wide(tmp_path / "wide.csv")
