"""Wide tables of meters and NumPy archives: what becomes a profile, what is counted, what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import DataError
from unlearn.households import read_npz, read_wide


def table(n_days: int = 3, minutes: int = 30, n_households: int = 3, first: str = "2021-03-27") -> pd.DataFrame:
    times = pd.date_range(first, periods=n_days * 1440 // minutes, freq=f"{minutes}min")
    random = np.random.default_rng(0)
    kwh = random.gamma(0.5, 0.4, (len(times), n_households)).round(3)
    frame = pd.DataFrame(kwh, columns=[f"home {i}" for i in range(n_households)])
    frame.insert(0, "timestamp", times.astype(str))
    return frame


def write(folder, frame):
    frame.to_csv(folder / "meters.csv", index=False)
    return folder / "meters.csv"


@pytest.mark.parametrize("minutes", [60, 30, 15, 10, 1])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_each_column_is_a_household(tmp_path, minutes, suffix):
    frame = table(2, minutes)
    path = tmp_path / f"meters{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    profiles = read_wide(path)
    assert profiles.name == "meters"
    assert profiles.kwh.shape == (6, 1440 // minutes)
    assert profiles.households["household_id"].tolist() == ["home 0", "home 1", "home 2"]
    assert profiles.segments == ("all",)
    np.testing.assert_array_equal(profiles.household, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(profiles.date[:2], np.array(["2021-03-27", "2021-03-28"], "datetime64[D]"))
    expected = frame["home 1"].to_numpy(np.float32).reshape(2, -1)
    np.testing.assert_array_equal(profiles.kwh[2:4], expected)


@given(
    st.lists(st.tuples(st.integers(0, 143), st.integers(0, 2)), max_size=20),
    st.sets(st.integers(0, 143), max_size=10),
)
def test_only_complete_days_become_profiles(tmp_path_factory, blanks, missing_rows):
    frame = table()
    for row, column in blanks:
        frame.iloc[row, column + 1] = np.nan
    frame = frame.drop(index=sorted(missing_rows))
    # One reading at a time.
    complete = {}
    for column in frame.columns[1:]:
        by_day: dict[str, list[float]] = {}
        for time, value in zip(frame["timestamp"], frame[column], strict=True):
            if not np.isnan(value):
                by_day.setdefault(time[:10], []).append(value)
        complete |= {(column, day): values for day, values in by_day.items() if len(values) == 48}
    path = write(tmp_path_factory.mktemp("wide"), frame)
    if not complete:
        with pytest.raises(DataError, match="at least one day without a gap, got none"):
            read_wide(path)
        return
    profiles = read_wide(path)
    ids = profiles.households["household_id"]
    got = {(ids[h], str(d)): k for h, d, k in zip(profiles.household, profiles.date, profiles.kwh, strict=True)}
    assert got.keys() == complete.keys()
    for key, values in complete.items():
        np.testing.assert_allclose(got[key], values, rtol=1e-6)
    report = profiles.reading
    assert report.rows == 3 * len(frame)
    assert report.null == int(frame.iloc[:, 1:].isna().to_numpy().sum())
    assert (report.days, report.households) == (len(complete), len({name for name, _ in complete}))
    assert report.households_without_days == 3 - report.households


def test_labels_belong_to_their_household(tmp_path):
    path = write(tmp_path, table())
    labels = pd.DataFrame(
        {
            "household_id": ["home 2", "home 9", "home 0", "home 1"],
            "segment": ["rich", "poor", "poor", "rich"],
            "ev": [True, False, False, True],
        }
    )
    labels.to_csv(tmp_path / "labels.csv", index=False)
    profiles = read_wide(path, tmp_path / "labels.csv")
    assert profiles.households["segment"].tolist() == ["poor", "rich", "rich"]
    assert profiles.households["ev"].tolist() == [False, True, True]
    assert profiles.segments == ("poor", "rich")
    assert read_wide(path, segment="homes").segments == ("homes",)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.drop(columns="segment"), "missing segment"),
        (lambda t: t.iloc[:2], r"expected a row for each household of .*missing home 2 \(1 in all\)"),
        (lambda t: pd.concat([t, t.iloc[1:2]]), "each household_id once, got home 1 again at row 5"),
        (lambda t: t.assign(segment=["a", None, "b"]), "a name, got a blank in column segment at row 3"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, change, match):
    labels = pd.DataFrame({"household_id": ["home 0", "home 1", "home 2"], "segment": ["a", "b", "c"]})
    change(labels).to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(DataError, match=rf"labels\.csv: .*{match}"):
        read_wide(write(tmp_path, table()), tmp_path / "labels.csv")


def test_times_with_offsets_are_converted_to_utc(tmp_path):
    frame = table(2)
    local = pd.to_datetime(frame["timestamp"]).dt.tz_localize("UTC").dt.tz_convert("Etc/GMT-2")
    # The clocks change within the table: no offset holds for all rows.
    mixed = local.astype(str).where(np.arange(len(local)) < 40, frame["timestamp"] + "+00:00")
    reference = read_wide(write(tmp_path, frame)).fingerprint
    assert read_wide(write(tmp_path, frame.assign(timestamp=local.astype(str)))).fingerprint == reference
    assert read_wide(write(tmp_path, frame.assign(timestamp=mixed))).fingerprint == reference


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda t: t.rename(columns={"timestamp": "when"}),
            "the columns timestamp, missing timestamp; got when, home 0",
        ),
        (lambda t: t[["timestamp"]], "expected a column of kWh per household"),
        (lambda t: t.iloc[:0], "expected a column of kWh per household beside timestamp, and rows"),
        (
            lambda t: t.iloc[[0, 2, 1, *range(3, 144)]],
            "got 2021-03-27 00:30:00 at row 4 after .* unsorted; 1 such rows",
        ),
        (lambda t: t.iloc[[0, 1, 1, *range(2, 144)]], "at row 4 after .*: it is a duplicate; 1 such rows"),
        (lambda t: t.replace("2021-03-27 01:00:00", "later"), "a time, got 'later' in column timestamp at row 4"),
        (lambda t: t.iloc[:1], "steps of whole minutes that divide an hour .*got a single row"),
        (lambda t: t.iloc[::4], "steps of whole minutes that divide an hour .*got steps of 2 h"),
        (
            lambda t: t.assign(timestamp=(pd.to_datetime(t["timestamp"]) + pd.Timedelta("7min")).astype(str)),
            "full steps of 30 min.*got .2021-03-27 00:07:00' in column timestamp at row 2; 144 such values",
        ),
        (
            lambda t: t.assign(**{"home 1": -0.5}),
            r"at least 0 kWh or a blank, got .*-0\.5.* in column home 1 at row 2;",
        ),
        (lambda t: t.assign(**{"home 1": "1,5"}), "got '1,5' in column home 1 at row 2"),
        (lambda t: t.assign(**{"home 1": np.inf}), "got .*inf.* in column home 1"),
    ],
)
def test_unusable_tables_are_refused(tmp_path, change, match):
    with pytest.raises(DataError, match=rf"meters\.csv: .*{match}"):
        read_wide(write(tmp_path, change(table())))


def test_missing_table(tmp_path):
    with pytest.raises(DataError, match="found no such file"):
        read_wide(tmp_path / "none.csv")


def archive(n_steps: int = 100, **changes: object) -> dict[str, object]:
    wh = np.random.default_rng(1).integers(0, 2000, (n_steps, 3)).astype(np.uint16)
    given_ = {
        "kwh_x1000": wh,
        "ids": np.array(["MAC3", "MAC1", "MAC2"]),
        "start": np.array(["2013-01-01 00:00"]),
        "tariff": np.array(["Std", "ToU", "Std"]),
        "acorn_grouped": np.array(["Affluent", "Adversity", "Affluent"]),
    }
    return {**given_, **changes}


def test_a_numpy_archive(tmp_path):
    arrays = archive()
    np.savez(tmp_path / "sample.npz", **arrays)
    profiles = read_npz(tmp_path / "sample.npz")
    assert profiles.name == "sample"
    assert profiles.households["household_id"].tolist() == ["MAC3", "MAC1", "MAC2"]
    assert profiles.households["tariff"].tolist() == ["Std", "ToU", "Std"]
    assert profiles.segments == ("Adversity", "Affluent")
    np.testing.assert_array_equal(profiles.date, np.tile(np.array(["2013-01-01", "2013-01-02"], "datetime64[D]"), 3))
    for h in range(3):
        for d in range(2):
            np.testing.assert_allclose(profiles.kwh[2 * h + d], arrays["kwh_x1000"][48 * d : 48 * d + 48, h] / 1000.0)
    assert (profiles.reading.incomplete_days, profiles.reading.days, profiles.reading.households) == (3, 6, 3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kwh_x1000": np.ones((100, 3))}, "kwh_x1000: expected whole Wh"),
        ({"kwh_x1000": np.ones((47, 3), int)}, "at least 48 half-hours"),
        ({"kwh_x1000": -np.ones((100, 3), int)}, "expected at least 0, got -1 of MAC3 at half-hour 0"),
        ({"ids": np.array(["a"])}, r"ids: expected 3 values, one a household, got \(1,\)"),
        ({"ids": np.array(["a", "b", "a"])}, "a different name for each household, got 'a' twice"),
        ({"start": np.array(["2013-01-01 00:30"])}, "start: expected one midnight"),
        ({"start": np.array(["soon"])}, "start: expected one midnight"),
        ({"tariff": np.array([{}, {}, {}])}, "archive of plain arrays"),
    ],
)
def test_unusable_archives_are_refused(tmp_path, changes, match):
    np.savez(tmp_path / "sample.npz", **archive(**changes))
    with pytest.raises(DataError, match=match):
        read_npz(tmp_path / "sample.npz")


def test_other_files_are_no_archives(tmp_path):
    with pytest.raises(DataError, match="found no such file"):
        read_npz(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(DataError, match="got a single array"):
        read_npz(tmp_path / "one.npy")
    np.savez(tmp_path / "some.npz", ids=np.ones(3))
    with pytest.raises(DataError, match="missing kwh_x1000, start, tariff, acorn_grouped, got ids"):
        read_npz(tmp_path / "some.npz")
    for content in (b"", b"no archive", b"PK\x03\x04 broken"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataError, match="expected a NumPy archive"):
            read_npz(tmp_path / "bad.npz")
