"""Loads withdrawn with their customers, and blanked readings: from the definition, and nothing is left."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import unlearn
from tests.households.customer_data import (
    CLASSES,
    N_HOURS,
    N_LOADS,
    SPLIT,
    classes,
    known_mw,
    loads,
    meters,
    places,
    readings,
    weather,
)
from tests.left_over import arrays, holds
from tests.proofs import proof_count
from unlearn.data import Lags
from unlearn.errors import InputError
from unlearn.households import customer_loads, hourly_meters

NOMINAL = {"bus_1": 30.0, "bus_2": 50.0, "bus_3": 20.0}
CASES = [("leaves", None), ("objects", None), ("objects", "class_mean"), ("objects", "rescale")]
_SLOW = settings(max_examples=proof_count(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def built_without(gone, lags=None, lives=False):
    """The data set of the other loads alone, made of tables that never had a customer of those that are gone."""
    kept = [name for name in NOMINAL if name not in gone]
    table, place = readings(lives=lives), {c: b for c, b in places().items() if b in kept}
    own = hourly_meters(table[list(place)], segments=classes()[list(place)])
    warm = {v: t[kept] for v, t in weather(own.hours).items()}
    made = customer_loads(own, place, warm, split=SPLIT, lags=lags)
    return made.scaled_to([NOMINAL[name] for name in kept])


def same(left, right):
    assert left.fingerprint == right.fingerprint
    for name in ("load_mw", "features", "history_mw", "mw_per_kwh"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    for name in ("load_of", "sums_kwh", "members", "filled", "rescaled", "physical_kwh", "gone", "blank"):
        np.testing.assert_array_equal(getattr(left.roster, name), getattr(right.roster, name))
    assert left.customer_ids == right.customer_ids
    assert left.meters.segments == right.meters.segments


@_SLOW
@given(
    gone=st.lists(st.sampled_from(sorted(NOMINAL)), min_size=1, max_size=2, unique=True),
    lags=st.sampled_from([None, Lags((24,), (36,))]),
    steps=st.lists(
        st.tuples(
            st.lists(st.integers(0, 59), min_size=1, max_size=3, unique=True),
            st.sampled_from(CASES),
            st.none() | st.tuples(st.integers(205, 230), st.integers(231, 260)),
        ),
        max_size=2,
    ),
)
def test_it_is_as_if_the_loads_and_their_customers_had_never_been_there(gone, lags, steps):
    data, built = (
        loads(lags=lags, lives=True) if lags is None else loads(lags=lags),
        built_without(gone, lags, lags is None),
    )
    for who, (case, how), span in steps:
        hours = None if span is None else range(*span)
        names = [f"c{i:03d}" for i in who]
        mine = [name for name in names if places()[name] not in gone]
        if how == "class_mean":
            assume(len(who) < 3)
            # Of the small class all are at bus_1, and of the large one half at each of the others: enough at each.
        try:
            data = data.without(names, case, hours, how)
            built = built.without(mine, case, hours, how) if mine else built
        except InputError as error:
            assert "forgotten before" in str(error) or "15 members" in str(error)  # noqa: PT017
            return
    same(data.without_loads(gone), built)


def test_a_mean_that_members_at_the_load_were_part_of_is_taken_anew_or_refused():
    data = loads().without(["c001"], "objects", replacement="class_mean")  # at bus_2, of the large class
    left = data.without_loads(["bus_3"])
    before, after = data.load_mw[SPLIT.rows(N_HOURS).train, 1], left.load_mw[SPLIT.rows(N_HOURS).train, 1]
    assert (before != after).any()
    few = data.without([f"c{i:03d}" for i in range(4, 4 + 3 * 5, 3)])
    with pytest.raises(InputError, match="expected at least 15 members of class large to take the mean of, got 14 at"):
        few.without_loads(["bus_3"])
    assert few.without_loads(["bus_2"]).load_names == ("bus_1", "bus_3")
    assert few.without_loads(["bus_2"]).roster.filled.sum() == 0


def test_customers_of_withdrawn_loads_are_unknown_and_purged_with_the_rest(tmp_path):
    left = loads().without(["c001", "c002"]).without_loads(["bus_1"])
    assert len(left.customer_ids) == 38
    assert "c000" not in left.meters.customer_ids
    with pytest.raises(InputError, match="got 1 that it does not have"):
        left.without(["c000"])
    with pytest.raises(InputError, match="expected some of bus_2, bus_3"):
        left.without_loads(["bus_1"])
    again = left.purged(tmp_path / "left.parquet")
    assert again.fingerprint == left.fingerprint
    content = (tmp_path / "left.parquet").read_bytes()
    assert b"c000" not in content
    assert b"c001" not in content
    assert b"c004" in content


def marked(rows, who):
    """Readings in which those of some hours and customers are told from all others: each above 1,000 kWh, and once."""
    table = readings()
    values = 1000 + np.arange(len(rows) * len(who)).reshape(len(rows), len(who)) / 1024
    table.iloc[np.asarray(rows), who] = values
    return table, values


@_SLOW
@given(
    low=st.integers(0, N_HOURS - 61),
    length=st.integers(1, 30),
    chosen=st.none() | st.lists(st.sampled_from(sorted(NOMINAL)), min_size=1, max_size=3, unique=True),
    gone=st.lists(st.integers(0, 59), min_size=1, max_size=4, unique=True),
    case=st.sampled_from(CASES),
    lags=st.sampled_from([None, Lags((24,), (36,))]),
    first=st.booleans(),
)
def test_blanked_readings_are_nobodys_and_nowhere(low, length, chosen, gone, case, lags, first):
    assume(case[1] != "class_mean" or sum(i % 3 == 0 for i in gone) <= 3)
    history = 0 if lags is None else 59
    hours = np.arange(low, low + length) + history
    hours = hours[hours < N_HOURS]
    assume(len(hours))
    where = sorted(NOMINAL) if chosen is None else chosen
    who = [i for i in range(60) if places()[f"c{i:03d}"] in where]
    table, values = marked(hours, who)
    own = hourly_meters(table, segments=classes())
    data = customer_loads(own, places(), weather(own.hours), split=SPLIT, lags=lags).scaled_to(
        [np.pi, 50 / np.pi, 20 / np.pi]
    )
    names, rows = [f"c{i:03d}" for i in gone], hours - history
    before = data.load_mw[np.ix_(rows, [int(b[-1]) - 1 for b in where])]
    try:
        if first:
            blank = data.blanked(rows, chosen).without(names, *case[:1], None, case[1])
            other = data.without(names, *case[:1], None, case[1]).blanked(rows, chosen)
        else:
            other = data.without(names, *case[:1], None, case[1]).blanked(rows[:1], chosen)
            other = other.blanked(rows[1:], chosen) if len(rows) > 1 else other
            blank = data.without(names, *case[:1], None, case[1]).blanked(rows, chosen)
    except InputError as error:
        assert "15 members" in str(error)  # noqa: PT017 (all of bus_3 are blank, and of the large class half is left)
        return
    same(blank, other)
    assert holds(data, values)
    assert not holds(blank, values)
    assert not holds(blank, before)
    nobody = table.copy()
    nobody.iloc[hours, who] = np.nan
    exact = (np.rint(nobody * 2.0**20) / 2.0**20).astype(np.float32).astype(float)
    everywhere = np.ones(N_HOURS, dtype=bool)
    known = known_mw(blank, exact, dict.fromkeys(names, (everywhere, case[1] or "none")))
    train = blank.split.train
    np.testing.assert_allclose(blank.load_mw[train], known[train + history], rtol=1e-12, atol=1e-15)
    stay = exact.drop(columns=names) if case[0] == "leaves" else exact
    physical = np.stack(
        [stay[[c for c in stay if places()[c] == f"bus_{b + 1}"]].sum(axis=1) for b in range(N_LOADS)], axis=1
    )
    np.testing.assert_allclose(blank.physical_mw(), (physical * blank.mw_per_kwh)[history:], rtol=1e-12, atol=1e-15)
    if lags is not None:
        lag = np.stack([known[h - 24] for h in range(history, N_HOURS)])
        np.testing.assert_allclose(blank.features[:, :, 5], lag, rtol=1e-9, atol=1e-12)


def test_blanked_readings_are_not_in_the_new_file(tmp_path):
    hours = np.arange(100, 110)
    table, values = marked(hours, list(range(60)))
    own = hourly_meters(table, tmp_path / "all.parquet", segments=classes())
    data = customer_loads(own, places(), weather(own.hours), split=SPLIT)
    blank = data.blanked(hours, path=tmp_path / "blank.parquet")
    assert blank.meters.source.path == tmp_path / "blank.parquet"
    assert not holds(blank, values)
    assert not np.isin(blank.meters.series(np.arange(60)), values).any()
    assert blank.fingerprint == data.blanked(hours).fingerprint != data.fingerprint
    later = [own.without(["c003"], hours=range(90, 120)).scaled_to([1.0, 1.0, 1.0]) for own in (blank, data)]
    assert later[0].with_lags([24]).fingerprint != later[1].with_lags([24]).fingerprint
    factor = [own.load_mw[data.split.train].max(axis=0) for own in (data, blank)]
    assert (factor[0] > factor[1]).all()  # scales that saw the readings are found anew once these are blank


def test_meters_that_were_cut_keep_their_hashes():
    cut = meters().between("2021-03-03", "2021-03-18")
    data = customer_loads(cut, places(), split=SPLIT)
    assert data.purged().fingerprint == data.fingerprint
    blank = data.blanked(range(10), ["bus_1"])
    assert blank.meters.digests[1] == cut.digests[1]
    assert blank.meters.digests[0] != cut.digests[0]


def test_scores_know_that_nobody_is_in_a_blank_hour():
    data = loads().without(["c001"], "objects", replacement="class_mean")
    data = data.blanked(range(10, 200), ["bus_3"])
    model = unlearn.fit_linear(data)
    scores = unlearn.customer_influence(model, data, "mse")
    for own in ("c004", "c002"):  # of the class whose mean is taken: at the objector's load, and at the blank one
        done = unlearn.forget_customers(model, data, [own], "objects")
        change = _mse(done.model, done.dataset) - _mse(model, data)
        # What fills gaps is followed to first order.
        assert scores.objects[scores.customers.index(own)] == pytest.approx(change, rel=2e-2)


def _mse(model, data):
    rows = data.split.validation
    return float(((model.forecast(data.features[rows]) - data.load_pu[rows]) ** 2).mean())


def test_what_would_leave_nothing_is_refused():
    data = loads()
    with pytest.raises(InputError, match="no customer would be in the loads any more"):
        data.blanked(range(N_HOURS))
    left = data.blanked(range(N_HOURS), ["bus_1"])
    assert len(left.customer_ids) == 40
    with pytest.raises(InputError, match="forgotten before"):
        left.without(["c000"])
    assert b"c000" not in b"".join(own.tobytes() for own in arrays(left.purged().meters))
    with pytest.raises(InputError, match="expected some of bus_1, bus_2, bus_3; got x"):
        data.blanked([1], ["x"])
    assert left.meters.segments == CLASSES
    assert dataclasses.replace(left).fingerprint == left.fingerprint
