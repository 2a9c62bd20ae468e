"""Rates against statsmodels-free closed forms and scipy; risk by hand, at its limits, and its properties."""

import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from unlearn.attacks import exact_rate, measure_risk, wilson_rate
from unlearn.errors import InputError

TRIES = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(TRIES)
def test_intervals_are_those_of_scipy(tried: tuple[int, int]) -> None:
    k, n = tried
    for found, method in ((wilson_rate(k, n), "wilson"), (exact_rate(k, n), "exact")):
        expected = binomtest(k, n).proportion_ci(0.95, method=method)
        assert found.low == pytest.approx(expected.low, abs=1e-9)
        assert found.high == pytest.approx(expected.high, abs=1e-9)
        assert found.low - 1e-12 <= found.value <= found.high + 1e-12
    assert exact_rate(k, n).value == k / n


def test_the_exact_interval_covers_as_often_as_it_says() -> None:
    from scipy.stats import binom

    for p in (0.001, 0.1, 0.37, 0.5):
        covered = sum(binom.pmf(k, 40, p) for k in range(41) if exact_rate(k, 40).low <= p <= exact_rate(k, 40).high)
        assert covered >= 0.95


def test_a_risk_by_hand() -> None:
    # Wilson with z = 1.96: a = (90 + 1.92) / 103.84 = 0.8852, c = (10 + 1.92) / 103.84 = 0.1148, both ± 0.0596.
    found = measure_risk("linkability", (90, 100), (5, 100), (10, 100))
    assert found.attack.value == pytest.approx(0.8852, abs=1e-4)
    assert found.risk.value == pytest.approx((0.8852 - 0.1148) / 0.8852, abs=1e-4)
    half = math.hypot(0.0596 / 0.8852, 0.0596 * 0.1148 / 0.8852**2)
    assert found.risk.high - found.risk.value == pytest.approx(half, abs=1e-4)
    assert found.reason == ""
    assert set(found.metrics()) == {"risk", "attack", "baseline", "control"}


@given(TRIES, TRIES, TRIES)
def test_a_risk_is_a_share_or_told_to_be_none(attack, baseline, control) -> None:
    found = measure_risk("x", attack, baseline, control)
    if control[0] == control[1]:
        assert math.isnan(found.risk.value)
        assert "every attack on control records succeeds" in found.reason
        return
    assert 0 <= found.risk.low <= found.risk.value <= found.risk.high <= 1
    weak = attack[0] * baseline[1] <= baseline[0] * attack[1]
    assert weak == ("does no better" in found.reason)


@given(st.integers(1, 300), st.data())
def test_what_helps_with_controls_as_well_is_no_risk(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n - 1))
    same = measure_risk("x", (k, n), (0, n), (k, n)).risk
    assert same.value == pytest.approx(0.0, abs=1e-12)
    assert same.low == 0.0
    more = measure_risk("x", (k + 1, n), (0, n), (k, n)).risk
    assert more.value > same.value


def test_a_copy_is_at_the_limit_and_a_weak_attack_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert measure_risk("x", (500, 500), (1, 500), (0, 500)).risk.low > 0.97
    with caplog.at_level(logging.WARNING, "unlearn.attacks.risk"):
        found = measure_risk("inference", (3, 100), (4, 100), (3, 100))
    assert "inference: the attack does no better than guessing" in caplog.text
    assert found.risk.value == 0.0
    nothing = measure_risk("singling_out", (0, 0), (1, 100), (0, 0))
    assert math.isnan(nothing.risk.value)
    assert math.isnan(nothing.attack.value)
    assert nothing.baseline.value > 0
    assert "nothing to try for attack and control" in nothing.reason


def test_what_is_no_rate_is_refused() -> None:
    for rate in (wilson_rate, exact_rate):
        with pytest.raises(InputError, match="tries: expected a whole number"):
            rate(0, 0)
        with pytest.raises(InputError, match="successes: expected a number from 0 to the 10 tries, got 11"):
            rate(11, 10)
        with pytest.raises(InputError, match="level"):
            rate(1, 10, 1.0)
    with pytest.raises(InputError, match="successes"):
        measure_risk("x", (2, 1), (0, 1), (0, 1))
