"""Bills from shares against those from plain readings; what shares tell; and what a spot check finds."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import rehearse
from unlearn.privacy.mpc.joint import compute
from unlearn.privacy.mpc.programs.billing import (
    MOST_WH,
    PRIME,
    Tariff,
    bill,
    open_readings,
    split_readings,
    tariff_public,
)

extras = pytest.mark.extras

PROGRAM = "unlearn.privacy.mpc.programs.billing"
SERVERS = ("server 1", "server 2", "server 3")
TARIFF = Tariff((300_000,) * 6 + (120_000,) * 18, (2_000, 9_000), (50_000, -20_000))
UTILITY: dict[str, Payload] = {"utility": {}}


def limbs(numbers: np.ndarray) -> Payload:
    return {"low": (numbers % 2**64).astype(np.uint64), "high": (numbers // 2**64).astype(np.uint64)}


def altered(readings: np.ndarray, by: int, at: tuple[int, int] = (0, 3)) -> dict[str, Payload]:
    """Shares of which a dishonest meter, or a server, changed one by any number of the field."""
    shares = split_readings(readings, SERVERS)
    part = shares["server 2"]
    numbers = part["low"].astype(object) + 2**64 * part["high"].astype(object)
    numbers[at] = (numbers[at] + by) % PRIME
    return {**shares, "server 2": limbs(numbers)}


def random_readings(customers: int, intervals: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, (customers, intervals))


def test_a_plain_bill_is_that_of_its_definition() -> None:
    readings = random_readings(5)
    for row, found in zip(readings.tolist(), TARIFF.bills(readings).tolist(), strict=True):
        used, exact = sum(row), sum(Fraction(wh * price) for wh, price in zip(row, TARIFF.prices, strict=True))
        for threshold, more in zip(TARIFF.thresholds_wh, TARIFF.surcharges, strict=True):
            exact += max(used - threshold, 0) * more
        assert found == exact


def test_shares_add_up_and_any_two_of_them_are_uniform() -> None:
    """Chi-square at a level of 1e-6 each, of the upper bits of either share and of the sum of the two."""
    readings = np.full((1, 8000), 480)
    parts = [
        part["low"].astype(object) + 2**64 * part["high"].astype(object)
        for part in split_readings(readings, SERVERS).values()
    ]
    np.testing.assert_array_equal(sum(parts) % PRIME, readings)
    for view in (*parts, parts[0] + parts[1], parts[0] + parts[2], parts[1] + parts[2]):
        for shift in (0, 119):  # lowest and highest eight bits
            bins = np.bincount((((view % PRIME) >> shift) % 256).ravel().astype(int), minlength=256)
            assert stats.chisquare(bins).pvalue > 1e-7


@extras
def test_a_thousand_random_customers() -> None:
    readings = random_readings(proof_count(1000))
    readings[0], readings[1] = 0, MOST_WH
    readings[2:5, :], readings[2:5, 0] = 0, [1999, 2000, 2001]  # at a threshold
    found = rehearse(bill, split_readings(readings, SERVERS) | UTILITY, tariff_public(TARIFF, "utility"))
    assert found["accepted"].all()
    np.testing.assert_array_equal(found["bills"], TARIFF.bills(readings))


@extras
@pytest.mark.parametrize(
    "by",
    [-1001, MOST_WH + 1, -(2**43), 2**44, -(2**44), 2**50, -(2**50), 2**90, 2**126, PRIME // 2,
     -(10**9) * pow(120_000, -1, PRIME)],
)  # fmt: skip
def test_impossible_readings_are_not_billed(by: int) -> None:
    """Whatever number of the field; the last is a fraction that takes exactly an amount off the bill."""
    readings = np.full((2, 24), 1000)
    found = rehearse(bill, altered(readings, by) | UTILITY, tariff_public(TARIFF, "utility"))
    assert found["accepted"].tolist() == [0, 1]
    assert found["bills"].tolist() == [0, TARIFF.bills(readings)[1]]


@extras
def test_shares_of_another_month_at_one_server_are_not_billed() -> None:
    shares, other = (split_readings(random_readings(3), SERVERS) for _ in range(2))
    mixed = {**shares, "server 3": other["server 3"]}
    found = rehearse(bill, mixed | UTILITY, tariff_public(TARIFF, "utility"))
    assert not found["accepted"].any()


@pytest.mark.parametrize(
    ("prices", "thresholds", "surcharges", "message"),
    [
        ((), (), (), "whole numbers"),
        ((0.5,) * 24, (), (), "whole numbers"),
        ((-1,) * 24, (), (), "prices from 0"),
        ((10**8,) * 24, (), (), "prices from 0"),
        ((1,) * 5 + (2,) * 19, (), (), "at least 6 intervals of each price, got 5"),
        ((1,) * 12 + (1001,) * 12, (), (), "within a factor of 1000"),
        ((1,) * 24, (5, 5), (1, 1), "ascending"),
        ((1,) * 24, (5,), (), "a surcharge for each"),
        ((1,) * 2**17, (), (), "at most 65536"),
    ],
)
def test_tariffs_that_are_none_or_single_out_intervals(
    prices: tuple, thresholds: tuple, surcharges: tuple, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Tariff(prices, thresholds, surcharges)


@pytest.mark.parametrize("readings", [np.full((1, 2), 0.5), np.full((1, 2), -1), np.full(2, 1), np.full((1, 2), 2**21)])
def test_readings_that_are_none(readings: np.ndarray) -> None:
    with pytest.raises(InputError, match="whole Wh from 0"):
        split_readings(readings, SERVERS)


def test_servers_that_are_too_few_or_alike() -> None:
    with pytest.raises(InputError, match="at least 3"):
        split_readings(np.ones((1, 1)), SERVERS[:2])
    with pytest.raises(InputError, match="servers: expected"):
        split_readings(np.ones((1, 1)), ("a", "a", "b"))


@extras
@pytest.mark.parametrize(
    ("change", "public", "message"),
    [
        ({}, {"utility": "server 1"}, "a party without shares"),
        ({}, {"utility": "nobody"}, "a party without shares"),
        ({"server 3": {}}, {}, "at least 3 parties"),
        ({"server 3": {"low": np.zeros((1, 24), np.uint64)}}, {}, "both with one shape"),
        ({"server 3": dict.fromkeys(("low", "high"), np.zeros((1, 23), np.uint64))}, {}, "one shape"),
        ({}, {"prices": [120_000] * 23}, "expected 23 intervals, got 24"),
    ],
)
def test_refusals(change: dict, public: dict, message: str) -> None:
    shares = split_readings(np.ones((1, 24)), SERVERS)
    with pytest.raises(ProtocolError, match=message):
        rehearse(bill, shares | change | UTILITY, tariff_public(TARIFF, "utility") | public)


@extras
@pytest.mark.parametrize(
    "public", [{"hours": []}, {"hours": [24]}, {"hours": [0, 0]}, {"hours": [0, 1]}, {"hours": [0], "customer": 1}]
)
def test_a_spot_check_opens_few_readings(public: dict) -> None:
    with pytest.raises(ProtocolError, match=r"hours: expected at most 5%|customer: expected"):
        rehearse(open_readings, split_readings(np.ones((1, 24)), SERVERS) | UTILITY, public | {"utility": "utility"})


@extras
@pytest.mark.slow
def test_bills_in_processes_go_to_the_utility_alone() -> None:
    readings = random_readings(3)
    public = tariff_public(TARIFF, "utility")
    inputs = altered(readings, -(10**9), (1, 0)) | UTILITY
    learned = compute(f"{PROGRAM}:bill", inputs, public).results
    for name, one in learned.items():
        assert one["accepted"].tolist() == [1, 0, 1]
        assert ("bills" in one) == (name == "utility")
    np.testing.assert_array_equal(learned["utility"]["bills"], TARIFF.bills(readings) * [1, 0, 1])
    opened = compute(f"{PROGRAM}:open_readings", inputs, {"utility": "utility", "hours": [3], "customer": 2}).results
    assert opened["utility"]["readings_wh"].tolist() == [readings[2, 3]]
    assert not any(opened[name] for name in SERVERS)
