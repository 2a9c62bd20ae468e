"""Meters: the same in memory and in a file, refused with gaps and other clocks, sums without rounding error."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.households import lcl_builder
from tests.households.customer_data import classes, meters, readings
from unlearn.errors import DataError, InputError
from unlearn.households import customer_loads, hourly_meters, load_households, load_meters, read_npz
from unlearn.households.io.meters import save_meters
from unlearn.households.meters import BLOCK


def test_a_file_holds_the_same_readings_as_memory(tmp_path):
    table = readings(n=2 * BLOCK + 5, n_hours=48, lives=False)
    own, kept = hourly_meters(table), hourly_meters(table, tmp_path / "meters.parquet")
    assert kept.customer_ids == own.customer_ids
    assert kept.digests == own.digests
    assert kept.hours.equals(own.hours)
    some = np.array([BLOCK + 3, 0, 2 * BLOCK + 4, BLOCK + 1])
    np.testing.assert_array_equal(kept.series(some), own.series(some))
    np.testing.assert_allclose(own.series(some), table.to_numpy().T[some], atol=2.0**-20)
    positions = np.concatenate([where for where, _ in kept.blocks()])
    np.testing.assert_array_equal(positions, np.arange(len(kept)))
    assert "in memory" in repr(own)
    assert "meters.parquet" in repr(kept)


def test_saving_some_customers_leaves_the_others_out_of_the_file(tmp_path):
    own = meters()
    part = save_meters(own.take(np.array([4, 7, 30])), tmp_path / "part.parquet")
    assert part.customer_ids == ("c004", "c007", "c030")
    assert part.digests == tuple(own.digests[i] for i in (4, 7, 30))
    assert b"c005" not in (tmp_path / "part.parquet").read_bytes()


def test_hours_can_be_cut_and_customers_without_any_go():
    table = readings(lives=True)
    table.iloc[100:, 1] = np.nan
    part = hourly_meters(table).between("2021-03-08", "2021-03-15")
    assert len(part.hours) == 168
    assert part.hours[0] == pd.Timestamp("2021-03-08")
    assert "c001" not in part.customer_ids
    expected = table.loc[part.hours, list(part.customer_ids)].fillna(0).to_numpy().T
    np.testing.assert_allclose(part.series(np.arange(len(part))), expected, atol=2.0**-20)


@given(order=st.permutations(range(12)), scale=st.floats(1e-3, 1e4))
def test_sums_have_no_rounding_error_in_whatever_order(order, scale):
    table = readings(n=12, n_hours=24) * scale
    kwh = hourly_meters(table).series(np.arange(12))
    total = np.zeros(24)
    for i in order:
        total += kwh[i]
    np.testing.assert_array_equal(total, kwh.sum(axis=0))
    np.testing.assert_array_equal(total - kwh[order[0]], kwh[list(order[1:])].sum(axis=0))


def test_profiles_of_any_source_become_hours():
    profiles = load_households("simulator", n_households=3, n_days=5)
    own = hourly_meters(profiles)
    assert own.customer_ids == tuple(profiles.households["household_id"])
    assert own.segments == profiles.segments
    first = profiles.kwh[profiles.household == 0].reshape(-1, 2).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(own.series(np.array([0]))[0], first, atol=2.0**-20)


def test_an_archive_becomes_hours(tmp_path):
    kwh = np.random.default_rng(0).integers(0, 900, (96, 4)).astype(np.uint16)
    np.savez(
        tmp_path / "a.npz",
        kwh_x1000=kwh,
        ids=np.array(list("abcd")),
        start="2013-01-01",
        acorn_grouped=np.array(list("xyxy")),
        tariff=np.array(["Std"] * 4),
    )
    own = hourly_meters(read_npz(tmp_path / "a.npz"))
    np.testing.assert_allclose(own.series(np.arange(4)), kwh.reshape(48, 2, 4).sum(axis=1).T / 1000, atol=2.0**-20)


@pytest.mark.parametrize("source", ["lcl", "table"])
def test_files_of_meters_become_loads(tmp_path, source):
    """London's layout and one's own wide table, from the files to loads that know their customers."""
    if source == "lcl":
        rows = lcl_builder.trial(n_days=4)
        profiles = load_households("lcl", path=lcl_builder.write(tmp_path / "lcl.csv", rows))
        kwh = pd.DataFrame(
            [(row.household, row.second // 3600, row.wh / 1000) for row in rows], columns=["id", "h", "kwh"]
        )
        expected = kwh.pivot_table(index="h", columns="id", values="kwh", aggfunc="sum")
    else:
        table = readings(n=4, n_hours=96)
        table.rename_axis("timestamp").to_csv(tmp_path / "meters.csv")
        profiles, expected = load_households("table", path=tmp_path / "meters.csv"), table
    own = hourly_meters(profiles, tmp_path / "meters.parquet")
    assert own.customer_ids == tuple(expected.columns)
    place = {one: f"bus_{i % 2 + 1}" for i, one in enumerate(own.customer_ids)}
    data = customer_loads(own, place)
    sums = np.stack([expected.to_numpy()[:, b::2].sum(axis=1) for b in range(2)], axis=1)
    np.testing.assert_allclose(data.load_mw, sums / 1000, atol=1e-8)
    gone = data.without([own.customer_ids[0]])
    np.testing.assert_allclose(gone.load_mw[:, 0], expected.to_numpy()[:, 2] / 1000, atol=1e-8)


def test_a_day_that_a_household_lacks_is_a_gap():
    profiles = load_households("simulator", n_households=3, n_days=5)
    lacking = profiles.take((profiles.household != 1) | (profiles.date != profiles.days[2]))
    with pytest.raises(DataError, match="a gap of 24 hours, first 2013-01-03 00:00:00 for customer SIM000001"):
        hourly_meters(lacking)


def test_gaps_are_refused_or_left_out(caplog):
    table = readings(n=4, n_hours=48)
    table.iloc[[10, 12], 2] = np.nan
    with pytest.raises(DataError, match=r"a gap of 2 hours, first 2021-03-01 10:00:00 for customer c002. Fill it, or"):
        hourly_meters(table)
    assert hourly_meters(table, with_gaps="leave_out").customer_ids == ("c000", "c001", "c003")
    assert "1 meters with gaps are left out" in caplog.text
    with pytest.raises(DataError, match="at least one meter without a gap"):
        hourly_meters(table.iloc[:, [2]], with_gaps="leave_out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.set_axis(t.index.tz_localize("UTC")), "without a time zone"),
        (lambda t: t.set_axis(t.index + pd.Timedelta("30min")), "expected full hours, got 2021-03-01 00:30"),
        (lambda t: t.iloc[[0, 1, 1, 2]], "it is a duplicate"),
        (lambda t: t.reset_index(drop=True), "expected a DatetimeIndex"),
        (lambda t: -t, "at least 0 kWh, got"),
        (lambda t: t.mask(t > 0, np.inf), "expected finite energy"),
        (lambda t: t.set_axis(["c000", "c000", "c002"], axis=1), "c000 more than once"),
    ],
)
def test_other_clocks_and_wrong_readings_are_refused(change, said):
    with pytest.raises(DataError, match=said):
        hourly_meters(change(readings(n=3, n_hours=24)))


def test_wrong_calls_are_refused(tmp_path):
    table = readings(n=3, n_hours=24)
    with pytest.raises(InputError, match="expected HouseholdProfiles or a DataFrame"):
        hourly_meters(table.to_numpy())
    with pytest.raises(InputError, match=r"expected the suffix \.parquet"):
        hourly_meters(table, tmp_path / "meters.csv")
    with pytest.raises(DataError, match="one class for each customer, got none or two for c002"):
        hourly_meters(table, segments=classes(2))
    own = hourly_meters(table)
    with pytest.raises(InputError, match="1 that it does not have: d"):
        own.positions("customers", ["c000", "d"])
    with pytest.raises(InputError, match="each customer once, got c000 more than once"):
        own.positions("customers", ["c000", "c000"])
    with pytest.raises(InputError, match=r"write \['c000'\]"):
        own.positions("customers", "c000")
    with pytest.raises(InputError, match="at least one customer, got none"):
        own.positions("customers", [])


def test_another_file_in_the_place_of_the_opened_one_is_refused(tmp_path):
    path = tmp_path / "meters.parquet"
    own = hourly_meters(readings(n=3, n_hours=24), path)
    hourly_meters(readings(1, n=4, n_hours=24), path)
    with pytest.raises(DataError, match="expected the file that was opened, got another one"):
        own.series(np.array([0]))


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "meters.parquet"
    hourly_meters(readings(n=3, n_hours=24), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError):
        load_meters(path)
    readings(n=3, n_hours=24).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="expected meters that hourly_meters wrote"):
        load_meters(tmp_path / "other.parquet")
