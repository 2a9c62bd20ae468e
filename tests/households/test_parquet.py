"""Profiles as parquet files: they come back exactly, other files are refused."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.households.test_profiles import daily, made
from unlearn.errors import DataError, InputError
from unlearn.households import DailyProfiles, HouseholdProfiles, ReadingReport, load_profiles, save_profiles
from unlearn.households.io import parquet
from unlearn.households.io.parquet import profile_card


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.sampled_from([24, 48, 144]), st.integers(1, 9))
def test_households_come_back_exactly(tmp_path_factory, n_households, n_days, n_segments, n_steps, chunk):
    profiles = made(n_households, n_days, n_segments=min(n_segments, n_households))
    kwh = np.random.default_rng(n_days).gamma(0.3, 1.0, (len(profiles), n_steps)).astype(np.float32)
    kwh[0, :3] = [0.0, np.float32(1e-42), np.finfo(np.float32).max]
    households = profiles.households.assign(
        ev=np.arange(n_households) % 2 == 0, occupants=np.arange(n_households), mixed=np.linspace(0, 1, n_households)
    )
    fields = {name: getattr(profiles, name) for name in ("month", "day_of_week", "segment", "household", "date")}
    given_ = HouseholdProfiles(
        "köln", kwh, segments=profiles.segments, households=households, reading=ReadingReport(rows=7), **fields
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "_ROWS", chunk)
        path = save_profiles(given_, tmp_path_factory.mktemp("saved") / "p.parquet")
    again = load_profiles(path)
    assert isinstance(again, HouseholdProfiles)
    assert again.fingerprint == given_.fingerprint
    assert again.name == "köln"
    assert again.reading == given_.reading
    pd.testing.assert_frame_equal(again.households, households)
    for name, values in fields.items():
        np.testing.assert_array_equal(getattr(again, name), values)


def test_profiles_without_households_come_back_exactly(tmp_path):
    given_ = daily(segments=("all", "never seen"))
    path = save_profiles(given_, tmp_path / "p.parquet")
    again = load_profiles(path)
    assert type(again) is DailyProfiles
    assert (again.name, again.fingerprint, again.segments) == (given_.name, given_.fingerprint, given_.segments)
    assert not {"household_id", "date"} & set(pq.read_schema(path).names)


def test_empty_sets_come_back(tmp_path):
    nothing = made().take(np.arange(0))
    again = load_profiles(save_profiles(nothing.unlabelled(), tmp_path / "p.parquet"))
    assert (len(again), again.n_steps, again.segments) == (0, 48, nothing.segments)


def test_any_reader_of_parquet_sees_names_dates_and_energy(tmp_path):
    profiles = made()
    frame = pd.read_parquet(save_profiles(profiles, tmp_path / "p.parquet"))
    expected = profiles.to_frame()
    assert list(frame.columns) == list(expected.columns)
    assert frame["household_id"].astype(str).tolist() == expected["household_id"].tolist()
    assert frame["segment"].astype(str).tolist() == expected["segment"].astype(str).tolist()
    assert (pd.to_datetime(frame["date"]) == expected["date"]).all()
    np.testing.assert_array_equal(frame["kwh_47"], expected["kwh_47"])


def test_the_card_tells_where_a_file_comes_from(tmp_path):
    card = profile_card(save_profiles(made(), tmp_path / "p.parquet"))
    assert (card["kind"], card["n_steps"], card["segments"]) == ("household", 48, ["s0", "s1"])
    assert {"versions", "source", "written_utc"} <= set(card["provenance"])


def test_loading_chooses_households_years_and_labels(tmp_path):
    profiles = made(6, 400)  # from 25 February 2013 into 2014
    path = save_profiles(profiles, tmp_path / "p.parquet")
    chosen = load_profiles(path, segment="s1", max_households=2, year=2014)
    assert isinstance(chosen, HouseholdProfiles)
    assert chosen.households["household_id"].tolist() == ["H001", "H003"]
    expected = profiles.of_households([1, 3])
    expected = expected.take(expected.date >= np.datetime64("2014-01-01"))
    assert chosen.fingerprint == expected.fingerprint
    np.testing.assert_array_equal(chosen.household, expected.household)
    with pytest.raises(InputError, match="segment: expected one of s0, s1; got 's2'"):
        load_profiles(path, segment="s2")
    with pytest.raises(InputError, match="expected labels among household_id, segment; got colour"):
        load_profiles(path, colour="red")
    with pytest.raises(InputError, match="at least one profile of the chosen year and households, got none"):
        load_profiles(path, year=2015)
    with pytest.raises(InputError, match="min_days: expected a whole number of at least 1"):
        load_profiles(path, min_days=0)


def test_a_choice_of_households_needs_households(tmp_path):
    path = save_profiles(daily(), tmp_path / "p.parquet")
    for options in ({"year": 2013}, {"max_households": 2}, {"min_days": 2}, {"segment": "all"}):
        with pytest.raises(InputError, match="these profiles know neither"):
            load_profiles(path, **options)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="found no such file"):
        load_profiles(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="expected a parquet file"):
        load_profiles(tmp_path / "bad.parquet")
    made().to_frame().to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="profiles that save_profiles wrote, got another table"):
        load_profiles(tmp_path / "other.parquet")
    path = save_profiles(daily(), tmp_path / "p.parquet")
    table = pq.read_table(path)
    card = {**profile_card(path), "format": 99}
    pq.write_table(table.replace_schema_metadata({b"unlearn.profiles": json.dumps(card)}), path)
    with pytest.raises(DataError, match="expected format 1, got 99"):
        load_profiles(path)


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"suffix \.parquet, got '\.csv'"):
        save_profiles(made(), tmp_path / "p.csv")
    profiles = made(2)
    mixed = HouseholdProfiles(
        **{
            **{name: getattr(profiles, name) for name in profiles.__dataclass_fields__},
            "households": profiles.households.assign(household_id=pd.Series([1, "1"], dtype=object)),
        }
    )
    with pytest.raises(InputError, match="unique as text"):
        save_profiles(mixed, tmp_path / "p.parquet")
    assert list(tmp_path.iterdir()) == []
