"""Singling out: predicates by hand, sizes of original and control, known releases."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from tests.attacks.mixed import people
from unlearn.attacks import singling_out_risk
from unlearn.attacks.gower import as_tables
from unlearn.attacks.singling_out import _of_columns, _of_records, expected_singles
from unlearn.errors import InputError


def test_univariate_predicates_are_rare_values_extremes_and_a_single_gap() -> None:
    release = pd.DataFrame({"x": [1.0, 1.0, 2.0, 3.0, np.nan], "c": ["a", "a", "b", "b", "b"]})
    tables = as_tables(release, release, release)
    predicates = _of_columns(tables)
    # x = 2, x = 3, x <= 1, x >= 3, x missing; no category occurs once.
    assert sorted(zip(predicates.low.ravel(), predicates.high.ravel(), predicates.missing.ravel(), strict=True)) == [
        (-np.inf, 1.0, False),
        (0.0, 0.0, True),
        (2.0, 2.0, False),
        (3.0, 3.0, False),
        (3.0, np.inf, False),
    ]
    counts = dict(
        zip(map(tuple, np.c_[predicates.low, predicates.high]), predicates.counts(tables.release), strict=True)
    )
    assert counts == {(2.0, 2.0): 1, (3.0, 3.0): 1, (-np.inf, 1.0): 2, (3.0, np.inf): 1, (0.0, 0.0): 1}


def test_multivariate_predicates_hold_for_the_record_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.attacks.singling_out._BLOCK", 100)
    frame = people(40, 0)
    tables = as_tables(frame, frame, frame)
    predicates = _of_records(tables, 3, 200, np.random.default_rng(0))
    assert (predicates.counts(tables.release) >= 1).all()
    assert (np.diff(np.sort(predicates.column, axis=1), axis=1) > 0).all()
    by_hand = np.zeros(200, dtype=int)
    for p in range(200):
        for row in tables.release:
            fits = True
            for j, low, high, gap in zip(
                predicates.column[p], predicates.low[p], predicates.high[p], predicates.missing[p], strict=True
            ):
                fits &= bool(np.isnan(row[j])) if gap else low <= row[j] <= high
            by_hand[p] += fits
    np.testing.assert_array_equal(predicates.counts(tables.release), by_hand)
    few = predicates.some(50, np.random.default_rng(0))
    assert len(few.low) == 50
    keys = [frozenset(zip(*own, strict=True)) for own in zip(few.column, few.low, few.high, few.missing, strict=True)]
    assert len(set(keys)) == 50


@pytest.mark.parametrize("mode", ["univariate", "multivariate"])
def test_a_copy_is_at_risk_and_a_release_of_others_is_not(mode: str) -> None:
    mine, control = people(300, 0), people(300, 1)
    copy = singling_out_risk(mine, mine, control, mode=mode)
    assert copy.risk.low > 0.6
    assert copy.attack.value > 0.99
    independent = singling_out_risk(people(300, 2), mine, control, mode=mode)
    assert independent.risk.low == 0.0
    assert independent.risk.value < 0.1
    half = pd.concat([mine[:150], people(150, 3)], ignore_index=True)
    assert independent.risk.value < singling_out_risk(half, mine, control, mode=mode).risk.value < copy.risk.value
    assert copy.name == f"singling_out_{mode}"


def test_other_sizes_of_control_give_the_same_rate() -> None:
    """Predicates of beta-distributed weights: what is expected among n, from counts among others."""
    random = np.random.default_rng(0)
    weight = random.beta(0.5, 60.0, 4000)
    truth = (400 * weight * (1 - weight) ** 399).sum()
    for n_counted in (100, 400, 1600):
        counts = random.binomial(n_counted, weight)
        # 4000 x 0.2: the standard deviation is below 30.
        assert expected_singles(counts, n_counted, 400) == pytest.approx(truth, rel=0.15)
        # A subset of the same counts without a step for sizes is off.
    naive = (random.binomial(100, weight) == 1).sum()
    assert abs(naive / truth - 1) > 0.1


def test_a_subset_of_controls_is_expected_in_closed_form() -> None:
    counts = np.array([0, 1, 2, 5, 20])
    expected = sum(hypergeom.pmf(1, 20, k, 8) for k in counts)
    assert expected_singles(counts, 20, 8) == pytest.approx(expected)
    assert expected_singles(counts, 20, 20) == 1.0
    assert expected_singles(np.zeros(5, dtype=int), 20, 50) == 0.0
    assert expected_singles(np.zeros(0, dtype=int), 20, 50) == 0.0
    assert expected_singles(np.full(5, 20), 20, 50) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("n_control", [100, 600])
def test_independent_releases_are_no_risk_whatever_the_size_of_the_control(n_control: int) -> None:
    found = singling_out_risk(people(300, 2), people(300, 0), people(n_control, 1))
    assert found.risk.low == 0.0
    assert found.risk.value < 0.15
    mine = people(300, 0)
    assert singling_out_risk(mine, mine, people(n_control, 1)).risk.low > 0.6


def test_a_release_in_which_nobody_is_alone_gives_nothing_to_try() -> None:
    frame = people(50, 0)
    twice = pd.concat([frame, frame], ignore_index=True)
    found = singling_out_risk(twice, frame, people(50, 1))
    assert found.n_attacks == 0
    assert np.isnan(found.risk.value)
    assert "nothing to try" in found.reason


def test_unusable_input_is_refused() -> None:
    frame = people(5, 0)
    with pytest.raises(InputError, match="mode: expected one of multivariate, univariate"):
        singling_out_risk(frame, frame, frame, mode="bivariate")
    with pytest.raises(InputError, match="n_columns: expected at most the 6 columns"):
        singling_out_risk(frame, frame, frame, n_columns=7)
    with pytest.raises(InputError, match="n_attacks"):
        singling_out_risk(frame, frame, frame, n_attacks=0)
