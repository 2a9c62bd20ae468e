"""Messages are tidied in one place, and data shows itself in one line."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unlearn
from unlearn.checks import short_repr
from unlearn.data import poison
from unlearn.errors import DataError, DownloadError, InputError, UnlearnError, said
from unlearn.households import buildings_of, inject
from unlearn.studies._shared.study import refuse_zero_loads


@given(st.floats(allow_nan=True), st.integers(-(2**63), 2**63 - 1), st.booleans())
def test_values_of_arrays_are_shown_as_plain_ones(number, whole, flag):
    shown = str(InputError(f"got {np.float64(number)!r}, {[np.int64(whole)]} and {np.bool_(flag)!r}.."))
    assert shown == f"got {number!r}, [{whole}] and {flag}."


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (f"at {pd.Timestamp('2016-01-01')!r}.", "at 2016-01-01 00:00:00."),
        ("../x/..: no such file.", "../x/..: no such file."),
        ("got: it ended.. Fetch it", "got: it ended. Fetch it"),
        ("1, 2, ...", "1, 2, ..."),
        ("Pass numpy.unique(rows)", "Pass numpy.unique(rows)"),
    ],
)
def test_sentences_end_with_one_full_stop(message, shown):
    assert str(UnlearnError(message)) == shown
    again = pickle.loads(pickle.dumps(DownloadError(message)))
    assert (type(again), str(again)) == (DownloadError, shown)


def test_errors_of_others_are_quoted_in_one_line():
    assert said(ValueError("a\n  b.")) == "a b"
    assert said(KeyError("x")) == "KeyError 'x'"
    assert said(MemoryError()) == "MemoryError"


def test_refusals_across_the_library_show_plain_values():
    dataset = unlearn.load_dataset("synthetic", n_loads=3, n_hours=200)
    broken = dataset.load_mw.copy()
    broken[5, 1] = -3.2
    frame = pd.DataFrame(broken, index=dataset.timestamps)
    calls = [
        lambda: unlearn.dataset_from_frames(frame, {}),
        lambda: unlearn.dataset_from_frames(frame.abs().tz_localize("Europe/Berlin"), {}),
        lambda: dataset.scaled_to(np.array([1.0, np.float64(-2.0), 1.0])),
        lambda: dataset.scaled_to([1.0]),
        lambda: unlearn.load_dataset("synthetic", n_loads=np.float64(-1.5)),
        lambda: unlearn.load_dataset("tables", load_csv=None, weather={}),
        lambda: unlearn.load_dataset("tables", load_csv="x.csv", weather=None),
        lambda: unlearn.load_households("npz", path=np.float64(3.0)),
        lambda: poison(dataset, np.float64(1.5), "scaling", 0.5),
    ]
    for call in calls:
        with pytest.raises(UnlearnError) as refused:
            call()
        message = str(refused.value)
        assert "np." not in message
        assert "Timestamp(" not in message
        assert ".. " not in f"{message} "


def test_missing_arguments_of_tables_are_named():
    with pytest.raises(InputError, match="load_csv: expected the path of a file, got None"):
        unlearn.load_dataset("tables", load_csv=None, weather={})
    with pytest.raises(InputError, match="weather: expected a table by the name of each variable, got None"):
        unlearn.load_dataset("tables", load_csv="x.csv", weather=None)
    with pytest.raises(InputError, match="tables: expected the options load_csv, weather"):
        unlearn.load_dataset("tables")


def test_data_shows_itself_in_one_short_line():
    dataset = unlearn.load_dataset("synthetic", n_loads=3, n_hours=500)
    households = unlearn.load_households("simulator", n_households=4, n_days=70)
    series = buildings_of(households)
    for shown in (dataset, dataset.split, households, series, inject(series), poison(dataset, 0.1, "scaling", -0.5)):
        assert len(repr(shown)) < 300
        assert "\n" not in repr(shown)
        assert repr(shown).startswith(type(shown).__name__)
    assert "500 hours from 2019-01-01 00:00" in repr(dataset)
    assert "3 loads" in repr(dataset)
    assert "4 households" in repr(households)


def test_a_data_class_shows_its_arrays_by_their_size():
    @short_repr
    @dataclass
    class Some:
        rows: np.ndarray
        name: str
        parts: tuple

    some = Some(np.ones((300, 2)), "x" * 100, tuple(range(50)))
    assert repr(some) == f"Some(rows=ndarray (300, 2), name='{'x' * 59}..., parts=50 items)"


def test_a_load_of_zero_is_named_with_column_and_hour():
    dataset = unlearn.load_dataset("synthetic", n_loads=3, n_hours=200)
    load_mw = dataset.load_mw.copy()
    load_mw[7, 2] = 0
    dataset = replace(dataset, load_mw=load_mw)
    with pytest.raises(DataError, match=r"got 0 in column .* at 2019-01-01 07:00:00; 1 such .*leave_out_zeros=True"):
        refuse_zero_loads(dataset, np.arange(200))
