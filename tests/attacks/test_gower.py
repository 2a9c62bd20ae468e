"""Gower's distance by hand and by brute force, coding of tables, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from tests.attacks.mixed import people
from unlearn.attacks.gower import as_tables
from unlearn.errors import InputError


def distance(a: pd.Series, b: pd.Series, release: pd.DataFrame, columns: list[str]) -> float:
    total = 0.0
    for column in columns:
        x, y = a[column], b[column]
        if pd.isna(x) or pd.isna(y):
            total += 0.0 if pd.isna(x) and pd.isna(y) else 1.0
        elif column in ("area", "solar"):
            total += float(x != y)
        else:
            total += min(abs(x - y) / (release[column].max() - release[column].min()), 1.0)
    return total


def test_nearest_records_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.attacks.gower._BLOCK", 100)
    release, asked = people(30, 0), people(12, 1)
    asked.loc[0, "level"] = 50.0
    tables = as_tables(release, asked, asked[list(reversed(asked.columns))])
    np.testing.assert_array_equal(tables.original, tables.control)
    columns = ["level", "area", "solar", "floor"]
    random = np.random.default_rng(0)
    found = tables.nearest(tables.original, tables.positions("columns", columns), 3, random)
    one = tables.nearest(tables.original, tables.positions("columns", columns), 1, random)
    for i in range(12):
        every = np.array([distance(asked.loc[i], release.loc[r], release, columns) for r in range(30)])
        np.testing.assert_allclose(every[found[i]], np.sort(every)[:3], rtol=1e-9)
        np.testing.assert_allclose(every[one[i]], every.min(), rtol=1e-9)


def test_ties_are_broken_at_random_and_a_constant_column_tells_equal_from_other() -> None:
    release = pd.DataFrame({"a": np.ones(50), "b": np.arange(50.0)})
    asked = pd.DataFrame({"a": np.ones(400), "b": np.zeros(400)})
    tables = as_tables(release, asked, asked)
    alike = np.unique(
        [tables.nearest(tables.original[:1], np.array([0]), 1, np.random.default_rng(i)) for i in range(40)]
    )
    assert len(alike) > 10
    other = as_tables(release, asked, asked + 0.01)
    assert set(other.nearest(other.control, np.array([0, 1]), 1, np.random.default_rng(0)).ravel()) == {0}


def test_categories_are_the_same_in_all_tables_and_missing_is_its_own() -> None:
    frames = [pd.DataFrame({"x": values}) for values in (["a", "b", None], ["c", "a", None], ["b", "b", "c"])]
    tables = as_tables(*frames)
    assert not tables.numeric.any()
    assert tables.release[0, 0] == tables.original[1, 0]
    assert tables.release[1, 0] == tables.control[0, 0]
    assert tables.original[0, 0] == tables.control[2, 0]
    assert np.isnan(tables.release[2, 0])
    assert np.isnan(tables.original[2, 0])
    assert as_tables(np.eye(3), np.eye(3), np.eye(3)).columns == ("0", "1", "2")


def test_unusable_tables_are_refused() -> None:
    frame = people(5, 0)
    with pytest.raises(InputError, match="original: expected the 6 columns of the release"):
        as_tables(frame, frame.drop(columns="area"), frame)
    with pytest.raises(InputError, match="control: expected at least one row"):
        as_tables(frame, frame, frame[:0])
    with pytest.raises(InputError, match="column level: expected numbers in all tables, or in none"):
        as_tables(frame, frame.assign(level="low"), frame)
    with pytest.raises(InputError, match="column level: expected finite numbers"):
        as_tables(frame, frame.assign(level=np.inf), frame)
    with pytest.raises(InputError, match="release: expected a data frame or an array of 2 axes"):
        as_tables(np.ones(3), frame, frame)
    with pytest.raises(InputError, match="release: columns: expected each once"):
        as_tables(pd.concat([frame, frame], axis=1), frame, frame)
    tables = as_tables(frame, frame, frame)
    with pytest.raises(InputError, match="known: expected columns among"):
        tables.positions("known", ["income"])
    with pytest.raises(InputError, match="known: expected at least one"):
        tables.positions("known", [])
    with pytest.raises(InputError, match="n_attacks"):
        tables.draw(0, np.random.default_rng(0))
