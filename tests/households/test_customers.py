"""Loads of customers: sums that remember their parts, in both cases and with both replacements, refused where wrong."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.households.customer_data import N_HOURS, enough, known_mw, loads, meters, places, readings
from unlearn.data import Lags, LoadDataset
from unlearn.errors import DataError, InputError
from unlearn.households import customer_loads, hourly_meters, spread


@pytest.fixture(scope="module")
def data():
    return loads(lives=True)


@pytest.fixture(scope="module")
def table(data):
    return readings(lives=True)


def test_loads_are_sums_of_their_meters(data, table):
    assert isinstance(data, LoadDataset)
    assert len(data.customer_ids) == 60
    np.testing.assert_allclose(data.load_mw, known_mw(data, table, {}), rtol=1e-6)  # readings are rounded to 1e-6 kWh
    peak = data.load_mw[data.split.train].max(axis=0)
    np.testing.assert_allclose(peak, [30.0, 50.0, 20.0], rtol=1e-12)


def test_sizes_and_dominance_are_reported(data):
    groups = data.groups().set_index("group")
    assert groups.loc["bus_1", "customers"] == 20
    assert groups.loc["small", "customers"] == 20
    energy = readings(lives=True).sum()
    own = energy[[c for c, b in places().items() if b == "bus_2"]]
    assert groups.loc["bus_2", "largest_share"] == pytest.approx(own.max() / own.sum(), rel=1e-5)
    assert groups.loc["bus_2", "meets_15_15"] == (own.max() / own.sum() <= 0.15)


def _ask(draw_hours, table, who):
    """A mask over hours that lies in every life, or None."""
    there = table[list(who)].notna().all(axis=1).to_numpy()
    inside = np.flatnonzero(there)
    if draw_hours is None or not len(inside):
        return None, table[list(who)].notna().to_numpy().T
    low, high = (int(inside[0] + share * (len(inside) - 1)) for share in sorted(draw_hours))
    mask = np.zeros(len(table), dtype=bool)
    mask[low : high + 1] = True
    return mask, np.tile(mask, (len(who), 1))


@given(
    who=st.lists(st.integers(0, 59), min_size=1, max_size=12, unique=True),
    case=st.sampled_from([("leaves", None), ("objects", None), ("objects", "class_mean"), ("objects", "rescale")]),
    span=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_what_remains_is_what_the_definition_says(data, table, who, case, span):
    assume(enough(who, case))
    names = [f"c{i:03d}" for i in who]
    mask, hours = _ask(span, table, names)
    after = data.without(names, case[0], mask, case[1])
    gone = {own: (hours[i], case[1] or "none") for i, own in enumerate(names)}
    expected = known_mw(data, table, gone)
    train = data.split.train
    np.testing.assert_allclose(after.load_mw[train], expected[train], rtol=2e-6)
    others = np.setdiff1d(np.arange(N_HOURS), train)
    physical = expected if case[0] == "leaves" else known_mw(data, table, {})
    np.testing.assert_allclose(after.load_mw[others], physical[others], rtol=2e-6)


def test_one_after_another_is_the_same_to_the_last_bit(data):
    asked = [("c001", "leaves", None), ("c002", "objects", "class_mean"), ("c010", "objects", "class_mean"),
             ("c005", "objects", "rescale"), ("c020", "leaves", None)]  # fmt: skip
    forth, back = data, data
    for who, case, how in asked:
        forth = forth.without([who], case, None, how)
    for who, case, how in reversed(asked):
        back = back.without([who], case, None, how)
    np.testing.assert_array_equal(forth.load_mw, back.load_mw)
    assert forth.fingerprint == back.fingerprint != data.fingerprint
    assert len(forth.customer_ids) == 55


def test_without_a_customer_is_what_never_having_had_it_is(data):
    """But for the factors, which are kept: the same loads, bit by bit, and the same fingerprint."""
    after = data.without(["c007", "c008"])
    table = readings(lives=True).drop(columns=["c007", "c008"])
    never = customer_loads(
        hourly_meters(
            table, segments=pd.Series({c: data.meters.segments[data.meters.segment[int(c[1:])]] for c in table})
        ),
        {c: places()[c] for c in table},
        {"temperature": pd.DataFrame(data.features[:, :, 4], data.timestamps, list(data.load_names))},
    )
    rescaled = never._with(never.roster, data.mw_per_kwh)
    never = dataclasses.replace(rescaled, split=data.split, fitted=data.fitted, name=data.name)
    np.testing.assert_array_equal(after.load_mw, never.load_mw)
    assert after.fingerprint == never.fingerprint


def test_an_objector_can_leave_later_and_a_purged_data_set_holds_no_reading_of_whoever_left(data, tmp_path):
    once = data.without(["c003"], "objects").without(["c003"], "leaves").without(["c004"], "leaves", range(100))
    assert once.fingerprint == data.without(["c004"], "leaves", range(100)).without(["c003"]).fingerprint
    purged = once.purged(tmp_path / "left.parquet")
    assert purged.fingerprint == once.fingerprint
    assert "c003" not in purged.meters.customer_ids
    kept = purged.meters.series(purged.meters.positions("x", ["c004"]))[0]
    assert (kept[:100] == 0).all()
    assert (kept[100:] > 0).any()
    np.testing.assert_array_equal(purged.without(["c005"]).load_mw, once.without(["c005"]).load_mw)


def test_lags_hold_what_models_may_learn():
    data = loads(lags=Lags((24,), (48,)))
    assert data.n_history == 71
    assert data.load_mw.shape == (N_HOURS - 71, 3)
    after = data.without(["c000", "c006"], "objects", None, "rescale")
    expected = known_mw(data, readings(), {c: (np.ones(N_HOURS, dtype=bool), "rescale") for c in ("c000", "c006")})
    lag = after.features[:, :, after.feature_names.index("load_lag_24h_mw")]
    np.testing.assert_allclose(lag, expected[47:-24], rtol=2e-6)
    mean = after.features[:, :, after.feature_names.index("load_mean_48h_mw")]
    np.testing.assert_allclose(mean[0], expected[71 - 24 - 47 : 71 - 24 + 1].mean(axis=0), rtol=2e-6)


@pytest.mark.parametrize(
    ("who", "options", "said"),
    [
        (["nobody"], {}, "1 that it does not have: nobody"),
        (["c001", "c001"], {}, "each customer once, got c001"),
        (["c001"], {"case": "dies"}, "case: expected"),
        (["c001"], {"case": "objects", "replacement": "zero"}, "replacement: expected"),
        (["c001"], {"case": "objects", "replacement": "None"}, "replacement: expected one of class_mean, rescale"),
        (["c001"], {"replacement": "rescale"}, "expected None where a customer leaves"),
        (["c010"], {"hours": range(N_HOURS)}, r"outside that of c010, which runs from .* Narrow the range"),
        (["c001"], {"hours": []}, "at least one, got none"),
        ([f"c{i:03d}" for i in range(0, 60, 3)], {}, r"all that is left of bus_1 .*dataset, \['bus_1'\]"),
    ],
)
def test_wrong_requests_are_refused(data, who, options, said):
    with pytest.raises(InputError, match=said):
        data.without(who, **options)


def test_what_was_forgotten_is_not_forgotten_again(data):
    with pytest.raises(InputError, match="1 of 2 that were forgotten before in all of these hours: c001"):
        data.without(["c001"]).without(["c002", "c001"])


def test_the_mean_of_a_small_class_is_refused(data):
    small = [f"c{i:03d}" for i in range(0, 60, 3)]  # 20 members, all at bus_1 as it happens
    with pytest.raises(InputError, match=r"at least 15 members of class small to take the mean of, got 1[0-4] at"):
        data.without(small[:6], "objects", None, "class_mean")
    filled = data.without(["c000"], "objects", None, "class_mean")
    with pytest.raises(InputError, match="for earlier objectors of that class, too"):
        filled.without(small[1:6])
    eased = filled.without(["c000"], "objects", None, None)  # an earlier replacement can be changed
    assert len(eased.without(small[1:6]).customer_ids) == 54


def test_wrong_assignments_are_refused():
    own = meters()
    with pytest.raises(InputError, match="c000 on two loads"):
        customer_loads(own, pd.Series([*places().values(), "bus_2"], [*places(), "c000"]))
    with pytest.raises(InputError, match="none for c059"):
        customer_loads(own, {c: b for c, b in places().items() if c != "c059"})
    with pytest.raises(InputError, match="1 that it does not have: d"):
        customer_loads(own, places() | {"d": "bus_1"})
    with pytest.raises(InputError, match="loads among bus_1"):
        customer_loads(own, places(), load_names=["bus_1", "bus_2"])
    with pytest.raises(InputError, match="expected the load of each customer"):
        customer_loads(own, ["bus_1"] * 60)
    table = readings(n=3)
    table.iloc[:30, 0] = np.nan
    with pytest.raises(DataError, match="got none at bus_1 at 2021-03-01 00:00:00"):
        customer_loads(hourly_meters(table), places(3))
    hours = own.hours + pd.Timedelta("1h")
    with pytest.raises(DataError, match="expected the hours of the load table"):
        customer_loads(own, places(), {"temperature": pd.Series(0.0, hours)})


def test_loads_that_are_not_the_sums_are_refused(data):
    with pytest.raises(DataError, match="expected loads that are the sums of their meters"):
        dataclasses.replace(data, load_mw=data.load_mw * 1.01)
    other = data.with_loads(data.load_mw * 1.01)
    assert type(other) is LoadDataset


def test_customers_are_spread_evenly():
    place = spread([f"c{i}" for i in range(31)], 14, seed=3)
    counts = pd.Series(place).value_counts()
    assert set(counts) == {2, 3}
    assert len(counts) == 14
    own = customer_loads(meters(n=31), dict(zip(meters(n=31).customer_ids, place.values(), strict=True)))
    assert own.load_names == tuple(f"bus_{b + 1}" for b in range(14))
    with pytest.raises(InputError, match="at most the number of customers"):
        spread(["a"], 2)
