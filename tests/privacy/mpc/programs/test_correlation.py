"""Pearson's r against SciPy, rounded to what is told, within the error that is stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.mpc.context import rehearse
from unlearn.privacy.mpc.joint import compute
from unlearn.privacy.mpc.programs.correlation import correlation, encode, encoding_error

pytestmark = pytest.mark.extras

PROGRAM = "unlearn.privacy.mpc.programs.correlation:correlation"


def series(intervals: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs with correlations of all sizes, of all units and offsets."""
    rng = np.random.default_rng(seed)
    first, noise = rng.standard_normal((2, intervals, columns))
    share = rng.uniform(-1, 1, columns)
    second = share * first + (1 - np.abs(share)) * noise
    scales, offsets = 10.0 ** rng.uniform(-6, 6, (2, columns)), rng.uniform(-3, 3, (2, columns))
    return (first + offsets[0]) * scales[0], (second + offsets[1]) * scales[1]


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return stats.pearsonr(first, second, axis=0).statistic


@pytest.mark.parametrize("digits", [1, 3, 4])
def test_a_thousand_random_pairs(digits: int) -> None:
    first, second = series(48, 1000, digits)
    found = rehearse(correlation, {"cars": {"first": first}, "roofs": {"second": second}}, {"digits": digits})
    r = pearson(first, second)
    assert np.abs(found["r"] - r).max() <= found["error"] <= 0.5 * 10.0**-digits + 1e-7
    steps = found["r"] * 10**digits
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


@pytest.mark.parametrize("kind", ["equal", "opposite", "none", "spike"])
def test_worst_cases(kind: str) -> None:
    hours = np.arange(1488.0)
    second = {
        "equal": 1e9 * hours + 5, "opposite": -1e-9 * hours, "none": (-1.0) ** hours, "spike": 1e12 * (hours == 7),
    }[kind]  # fmt: skip
    found = rehearse(correlation, {"cars": {"first": hours}, "roofs": {"second": second}, "helper": {}})
    assert found["r"].shape == ()
    assert abs(found["r"] - pearson(hours, second)) <= found["error"]
    assert abs(found["r"]) <= 1


def test_the_error_of_encoding_is_within_its_bound() -> None:
    """Without rounding to digits, which hides it."""
    first, second = series(1488, 50)
    r = (encode(first).astype(object) * encode(second).astype(object)).sum(axis=0) / 2**56
    apart = np.abs(r.astype(float) - pearson(first, second)).max()
    assert 0 < apart <= encoding_error(1488) + 1e-13


def test_pooled_tells_the_mean_alone() -> None:
    first, second = series(96, 250)
    found = rehearse(
        correlation, {"cars": {"first": first}, "roofs": {"second": second}}, {"pooled": True, "digits": 4}
    )
    assert found["r"].shape == ()
    assert abs(found["r"] - pearson(first, second).mean()) <= found["error"] < 6e-5


HOURS = np.arange(24.0)


@pytest.mark.parametrize(
    ("first", "second", "public", "kind", "message"),
    [
        (np.full(24, 0.1), HOURS, {}, InputError, "constant"),
        (HOURS, np.zeros(24), {}, InputError, "constant"),
        (HOURS, np.full(24, 1e6) + 1e-9 * HOURS, {}, InputError, "constant"),
        (HOURS[:23], HOURS[:23], {}, InputError, "at least 24 intervals"),
        (HOURS, np.arange(25.0), {}, ProtocolError, "series of one shape"),
        (HOURS, HOURS, {"digits": 5}, InputError, "expected 1 to 4"),
        (HOURS, HOURS, {"digits": True}, InputError, "expected 1 to 4"),
        (HOURS, HOURS, {"pooled": True}, InputError, "at least 3 columns"),
    ],
)
def test_refusals(first: np.ndarray, second: np.ndarray, public: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        rehearse(correlation, {"cars": {"first": first}, "roofs": {"second": second}}, public)


def test_each_party_brings_one_series() -> None:
    with pytest.raises(ProtocolError, match="of exactly one party"):
        rehearse(correlation, {name: {"first": HOURS, "second": HOURS} for name in "ab"})
    with pytest.raises(ProtocolError, match="of exactly one party"):
        rehearse(correlation, {"a": {"first": HOURS, "second": HOURS}, "b": {}})


@pytest.mark.slow
def test_two_owners_and_a_neutral_party_in_processes() -> None:
    first, second = series(336, 4)
    inputs = {"cars": {"first": first}, "roofs": {"second": second}, "neutral": {}}
    for public in ({"to": ["neutral"]}, {"pooled": True, "to": ["neutral"]}):
        learned = compute(PROGRAM, inputs, public).results
        np.testing.assert_array_equal(learned["neutral"]["r"], rehearse(correlation, inputs, public)["r"])
        assert not learned["cars"]
        assert not learned["roofs"]
