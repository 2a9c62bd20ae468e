"""Differencing finds what was made to be found, all of it, and nothing where nothing is."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.attacks.differencing import composed, crowd_sizes, find_differences
from unlearn.errors import InputError


def test_the_area_without_its_other_feeders() -> None:
    feeder = np.repeat(np.arange(3), [20, 18, 4])
    published = np.array([feeder >= 0, feeder == 0, feeder == 1])
    random = np.random.default_rng(0)
    readings = np.rint(random.random((42, 24)) * 2**10) / 2**10
    values = published @ readings
    found = find_differences(published, names=["area", "A", "B"], values=values, readings=readings)
    assert found.complete
    (own,) = found.findings
    assert own.words == "area - A - B"
    assert own.coefficients == {"area": Fraction(1), "A": Fraction(-1), "B": Fraction(-1)}
    assert own.a_sum
    assert own.customers.tolist() == [38, 39, 40, 41]
    assert np.array_equal(own.recovered, readings[38:].sum(axis=0))
    assert np.array_equal(own.truth, own.recovered)
    frame = found.frame()
    assert frame.iloc[0].drop("largest_share").tolist() == ["area - A - B", 4, True, 24, 0.0]
    assert frame["largest_share"].isna().all()


@given(st.integers(0, 10**6).map(np.random.default_rng))
def test_signed_sums_of_published_ones_are_never_missed(random: np.random.Generator) -> None:
    # Plus, minus or without each sum: whatever that isolates is isolated by findings, which are all real.
    published = random.random((4, 12)) < 0.6
    found = find_differences(published, least=4)
    assert found.complete
    made = [np.array(signs) @ published for signs in product((-1, 0, 1), repeat=4)]
    for own in made:
        support = set(np.flatnonzero(own))
        if 0 < len(support) < 4:
            assert any(set(finding.customers) <= support for finding in found.findings)
    for finding in found.findings:
        vector = sum(np.array([float(c)]) * published[int(name.split()[1])] for name, c in finding.coefficients.items())
        assert np.allclose(np.flatnonzero(np.abs(vector) > 1e-9), finding.customers)
        assert np.allclose(vector[finding.customers], finding.factors)
        assert len(finding.customers) < 4


def test_a_group_that_one_customer_dominates() -> None:
    published = np.array([[True] * 40, [True] * 20 + [False] * 20])
    energy = np.r_[np.ones(39), 19.0]
    assert not find_differences(published).findings
    assert not find_differences(published, energy=np.ones(40)).findings
    found = find_differences(published, energy=energy, largest_share=0.4)
    assert [(own.words, own.largest_share) for own in found.findings] == [("sum 0 - sum 1", 0.5)]
    # Few customers and dominated is one finding.
    few = find_differences(published, least=21, energy=energy, largest_share=0.4).findings
    assert sorted(own.words for own in few) == ["sum 0 - sum 1", "sum 1"]


def test_nothing_to_find_in_groups_apart() -> None:
    published = np.kron(np.eye(5, dtype=bool), np.ones((1, 15), dtype=bool))
    found = find_differences(published)
    assert found.complete
    assert not found.findings
    assert not len(found.frame())
    assert len(find_differences(published, least=16).findings) == 5


def test_a_list_that_is_cut_says_so() -> None:
    found = find_differences(np.eye(6, dtype=bool), most=3)
    assert not found.complete
    assert len(found.findings) == 3


def test_intervals_in_which_other_sums_are_published() -> None:
    published = np.array([[True] * 20, [True] * 18 + [False] * 2])
    values = np.array([[5.0, 6.0, 7.0, 8.0], [1.0, np.nan, 2.0, np.nan]])
    (own,) = find_differences(published, values=values).findings
    assert own.intervals.tolist() == [0, 2]
    assert own.recovered is not None
    assert own.recovered.tolist() == [4.0, 5.0]
    # Customers whose meter is not there yet do not count; then the area itself has 14.
    present = np.ones((20, 4), dtype=bool)
    present[:6, 3] = False
    found = find_differences(published, values=values, present=present).findings
    assert [(own.words, own.intervals.tolist()) for own in found] == [("sum 0 - sum 1", [0, 2]), ("sum 0", [3])]
    assert found[1].customers.tolist() == list(range(6, 20))


def test_the_same_finding_in_several_sets_of_intervals_is_one() -> None:
    published = np.array([[True] * 20, [True] * 18 + [False] * 2, [True] * 16 + [False] * 4])
    values = np.array([[5.0, 6.0, 7.0], [1.0, 2.0, 3.0], [0.5, np.nan, 0.25]])
    readings = np.zeros((20, 3))
    readings[18] = [4.0, 4.0, 4.0]
    found = {own.words: own for own in find_differences(published, values=values, readings=readings).findings}
    own = found["sum 0 - sum 1"]
    assert own.intervals.tolist() == [0, 1, 2]
    assert own.recovered is not None
    assert own.recovered.tolist() == [4.0, 4.0, 4.0]
    assert own.truth is not None
    assert own.truth.tolist() == [4.0, 4.0, 4.0]


def test_a_solar_participant_alone_in_a_zip_code() -> None:
    customers = [f"c{i}" for i in range(60)]
    zips = {"zip 1": customers[:30], "zip 2": customers[30:]}
    solar = {"participants": [*customers[:1], *customers[30:]]}
    apart = [
        find_differences(composed({name: own}).published).findings for name, own in (("zip", zips), ("solar", solar))
    ]
    assert apart == [(), ()]
    both = composed({"usage": zips, "solar": solar})
    found = find_differences(both.published, names=both.names).findings
    assert [(own.words, [both.customers[i] for i in own.customers]) for own in found] == [
        ("solar: participants - usage: zip 2", ["c0"])
    ]
    has = np.isin(customers, solar["participants"])
    sizes = crowd_sizes(np.repeat([1, 2], 30), has)
    assert np.flatnonzero(sizes == 1).tolist() == [0]
    assert sizes.tolist() == [1] + [29] * 29 + [30] * 30


def test_refusals() -> None:
    two = np.ones((2, 20), dtype=bool)
    with pytest.raises(InputError, match="published: expected True or False"):
        find_differences(two.astype(int))
    with pytest.raises(InputError, match="names: expected 2 different ones, got 2, 1 different"):
        find_differences(two, names=["a", "a"])
    with pytest.raises(InputError, match="values: expected shape"):
        find_differences(two, values=np.ones((3, 4)))
    with pytest.raises(InputError, match="readings: expected shape"):
        find_differences(two, readings=np.ones((3, 4)))
    with pytest.raises(InputError, match="expected the same intervals"):
        find_differences(two, values=np.ones((2, 4)), readings=np.ones((20, 3)))
    with pytest.raises(InputError, match="present: expected shape"):
        find_differences(two, present=np.ones((3, 4), dtype=bool))
    with pytest.raises(InputError, match="energy: expected shape"):
        find_differences(two, energy=[1.0])
    with pytest.raises(InputError, match="largest_share: expected a number above 0"):
        find_differences(two, largest_share=0)
    with pytest.raises(InputError, match="least: expected a whole number"):
        find_differences(two, least=0)
    with pytest.raises(InputError, match="releases: expected at least one sum"):
        composed({"usage": {"zip 1": []}})
    with pytest.raises(InputError, match="labels: expected lists of the same length"):
        crowd_sizes([1], [1, 2])
