"""Households by the name of their source, and the choice among them."""

import numpy as np
import pytest

import unlearn
from tests.households.lcl_builder import days_of, write
from tests.households.test_profiles import made
from tests.households.test_wide import archive, table
from unlearn.errors import DataError, InputError
from unlearn.households import HOUSEHOLD_SOURCES, ReadingReport, household_profiles, load_households, select_households


def test_every_source_by_name(tmp_path):
    rows = [*days_of("MAC000002", 3), *days_of("MAC000003", 3), *days_of("MAC000004", 1)]
    table(3).to_csv(tmp_path / "wide.csv", index=False)
    np.savez(tmp_path / "a.npz", **archive(150))
    options = {
        "lcl": {"path": write(tmp_path / "lcl.csv", rows)},
        "npz": {"path": tmp_path / "a.npz"},
        "simulator": {"n_households": 4, "n_days": 3},
        "table": {"path": tmp_path / "wide.csv"},
    }
    assert set(options) == set(HOUSEHOLD_SOURCES)
    for source, given in options.items():
        profiles = unlearn.load_households(source, max_households=2, min_days=3, **given)
        assert profiles.n_households == 2, source
        assert len(profiles) == 6, source
        parts = unlearn.split_households(profiles)
        assert [part.n_households for part in parts] == [1, 1]


def test_the_choice_counts_whom_it_drops():
    profiles = made(4, 5)
    keep = ~((profiles.household == 1) & (profiles.date > profiles.date.min()))
    keep &= profiles.household != 2
    few = profiles.take(keep)
    counted = household_profiles(
        "counted",
        few.kwh,
        few.household,
        few.date,
        few.households,
        reading=ReadingReport(rows=99, households=4, days=11),
    )
    chosen = select_households(counted, min_days=2)
    assert chosen.households["household_id"].tolist() == ["H000", "H003"]
    assert chosen.reading == ReadingReport(rows=99, households_with_few_days=1, households=2, days=10)
    assert select_households(counted, max_households=2).households["household_id"].tolist() == ["H000", "H001"]
    assert select_households(profiles, min_days=5) is profiles


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"max_households": 1}, InputError, r"max_households: expected at least min_households \(2\), got 1"),
        ({"max_households": 0}, InputError, "max_households: expected a whole number of at least 1"),
        ({"min_days": 0}, InputError, "min_days: expected a whole number of at least 1"),
        ({"min_days": True}, InputError, "min_days: expected a whole number"),
        ({"min_households": 9}, DataError, "at least 9 households with 1 or more complete days, got 3 of 3"),
        ({"min_days": 8}, DataError, "at least 2 households with 8 or more complete days, got 0 of 3"),
        ({"colour": 1}, InputError, "simulator: expected options among ev_share, .*; got colour"),
    ],
)
def test_unusable_choices_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        load_households("simulator", n_households=3, n_days=7, **options)


def test_unknown_source_and_missing_path():
    with pytest.raises(InputError, match="expected one of lcl, npz, simulator, table; got 'csv'"):
        load_households("csv")
    with pytest.raises(InputError, match="lcl: expected the options path, got none"):
        load_households("lcl")
    with pytest.raises(
        InputError, match="lcl: expected options among max_households, min_days, path, stamps, tariff, year; got years"
    ):
        load_households("lcl", path="x", years=1)


def test_bounds_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="min_days"):
        load_households("lcl", path=tmp_path / "none.csv", min_days=-1)
