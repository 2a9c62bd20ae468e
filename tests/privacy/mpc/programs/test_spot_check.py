"""Spot checks: commitments that bind, a choice that neither side steers, and the probability that is stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import rehearse
from unlearn.privacy.mpc.programs.billing import Tariff, bill, open_readings, split_readings, tariff_public
from unlearn.privacy.mpc.programs.spot_check import (
    Committed,
    Finding,
    Toss,
    chosen,
    commit,
    examine,
    found_probability,
    opens,
)

METER, PERIOD, N = "meter 7", "2026-11", 48
SERVERS = ("server 1", "server 2", "server 3")
TRUE = np.random.default_rng(0).integers(100, 1000, N)


def check(committed: Committed, reported: np.ndarray, shared: np.ndarray, hours: list[int]) -> Finding:
    return examine(
        METER, PERIOD, hours, reported[hours], committed.blinds[hours], committed.digests, shared[hours], TRUE[hours]
    )


def test_an_honest_meter_passes() -> None:
    assert check(commit(METER, PERIOD, TRUE), TRUE, TRUE, list(range(N))).passed


def test_each_lie_is_found_where_it_is_looked_for() -> None:
    lower = TRUE.copy()
    lower[5] -= 50
    hours = [4, 5, 6]
    assert check(commit(METER, PERIOD, lower), lower, lower, hours) == Finding((), (), (5,))
    assert check(commit(METER, PERIOD, TRUE), TRUE, lower, hours) == Finding((), (5,), ())
    assert check(commit(METER, PERIOD, lower), TRUE, TRUE, hours) == Finding((5,), (), ())
    assert check(commit(METER, PERIOD, lower), lower, lower, [4, 6]).passed


@pytest.mark.parametrize("field", ["meter", "period", "interval", "reading", "blind"])
def test_a_commitment_opens_to_nothing_else(field: str) -> None:
    committed = commit(METER, PERIOD, TRUE)
    true = {
        "meter": METER, "period": PERIOD, "interval": 3, "reading": int(TRUE[3]), "blind": committed.blinds[3],
    }  # fmt: skip
    other = {"meter": "meter 8", "period": "2026-12", "interval": 4, "reading": 0, "blind": committed.blinds[4]}
    assert opens(*true.values(), committed.digests[3])
    assert not opens(*(true | {field: other[field]}).values(), committed.digests[3])


def test_equal_readings_have_unequal_commitments() -> None:
    same = commit(METER, PERIOD, np.zeros(20))
    assert len({one.tobytes() for one in same.digests}) == 20
    assert same.fingerprint != commit(METER, PERIOD, np.zeros(20)).fingerprint


def test_a_seed_is_what_was_committed_to() -> None:
    customer, utility = Toss("customer"), Toss("utility")
    assert customer.check("utility", utility.commitment, utility.seed) == utility.seed
    with pytest.raises(ProtocolError, match="utility: expected the seed"):
        customer.check("utility", utility.commitment, bytes(32))
    with pytest.raises(ProtocolError, match="customer: expected the seed"):
        customer.check("customer", customer.commitment, customer.seed)
    with pytest.raises(ProtocolError, match="expected the seed"):
        utility.check("customer", utility.commitment, utility.seed)  # the other's own, sent back
    assert customer.seed.hex() not in repr(customer)


def test_the_choice_is_uniform_over_intervals_and_depends_on_everything() -> None:
    """A chi-square test with fixed seeds, so that it repeats."""
    draws = np.array([chosen(at.to_bytes(32), bytes(32), bytes(32), 12, 4) for at in range(1500)])
    assert (np.diff(draws, axis=1) > 0).all()
    counts = np.bincount(draws.ravel(), minlength=12)
    # Without replacement counts vary by (n - s) / (n - 1) less.
    statistic = ((counts - 500) ** 2 / 500).sum() / (1 - 4 / 12) * (11 / 12)
    assert stats.chi2(11).sf(statistic) > 1e-6
    one = chosen(bytes(32), bytes(32), bytes(32), 1488, 20)
    for at in range(3):
        parts = [bytes(32)] * 3
        parts[at] = bytes(31) + b"\x01"
        assert chosen(*parts, 1488, 20) != one


@pytest.mark.parametrize(("wrong", "sample"), [(1, 2), (6, 2), (12, 5), (48, 1)])
def test_who_understates_is_found_as_often_as_stated(wrong: int, sample: int) -> None:
    """Exact against SciPy's hypergeometric law, and with drawn choices within six standard deviations."""
    p = found_probability(N, wrong, sample)
    assert p == pytest.approx(stats.hypergeom(N, wrong, sample).sf(0), rel=1e-12)
    lower = TRUE.copy()
    lower[:wrong] -= 50
    committed, runs = commit(METER, PERIOD, lower), proof_count(10_000)
    hours = (chosen(at.to_bytes(32), b"u" * 32, committed.fingerprint, N, sample) for at in range(runs))
    found = sum(not check(committed, lower, lower, one).passed for one in hours)
    assert abs(found - runs * p) <= 6 * np.sqrt(runs * p * (1 - p)) + 1


def test_bounds_of_the_probability() -> None:
    assert found_probability(N, 0, 10) == 0
    assert found_probability(N, N, 1) == 1
    assert found_probability(N, 5, N) == 1
    for arguments in ((N, N + 1, 1), (N, 1, N + 1), (N, -1, 1)):
        with pytest.raises(InputError, match="wrong and sampled"):
            found_probability(*arguments)


@pytest.mark.extras
def test_a_bill_from_wrong_shares_is_found() -> None:
    """The meter commits to the truth and gives servers less; the bill is accepted, and the opened shares tell."""
    lower = TRUE - 50
    shares: dict[str, Payload] = split_readings(lower[None], SERVERS) | {"utility": {}}
    tariff = Tariff((200_000,) * N)
    billed = rehearse(bill, shares, tariff_public(tariff, "utility"))
    assert billed["bills"].tolist() == tariff.bills(lower[None]).tolist() < tariff.bills(TRUE[None]).tolist()
    committed = commit(METER, PERIOD, TRUE)
    hours = chosen(bytes(32), bytes(32), committed.fingerprint, N, 2)
    opened = rehearse(open_readings, shares, {"utility": "utility", "hours": hours})["readings_wh"]
    found = examine(
        METER, PERIOD, hours, TRUE[hours], committed.blinds[hours], committed.digests, opened, TRUE[hours]
    )  # fmt: skip
    assert found == Finding((), tuple(hours), ())


def test_refusals() -> None:
    committed = commit(METER, PERIOD, TRUE)
    with pytest.raises(InputError, match="whole Wh"):
        commit(METER, PERIOD, TRUE + 0.5)
    with pytest.raises(InputError, match="at most the 48"):
        chosen(bytes(32), bytes(32), bytes(32), N, N + 1)
    with pytest.raises(InputError, match="32 bytes"):
        chosen(bytes(31), bytes(32), bytes(32), N, 1)
    with pytest.raises(ProtocolError, match="expected 2 openings"):
        examine(METER, PERIOD, [0, 1], TRUE[:1], committed.blinds[:2], committed.digests, TRUE[:2], TRUE[:2])


@pytest.mark.parametrize("reading", [np.inf, 2.0**60, np.nan, 0.5])
def test_only_whole_readings_in_range_are_committed_to(reading: float) -> None:
    with pytest.raises(InputError, match="readings_wh: expected whole Wh"):
        commit(METER, PERIOD, np.array([1.0, reading]))
