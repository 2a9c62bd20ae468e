"""Shared noise: its variance with whoever survives, and ε by closed form, audit, and another accountant."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from unlearn.attacks import audit_epsilon
from unlearn.dp import gaussian_sigma_for
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import (
    FederatedBudget,
    RoundNoise,
    SharedNoise,
    composed_epsilon,
    epsilon_under_drop_outs,
    sharing_error,
)

Bits = Callable[[int], None]

#: Of statistics of noise: one false alarm in a million runs.
ALPHA = 1e-6

NOBODY = np.zeros((0, 1500))


def delta_of(epsilon: float, mu: float) -> float:
    """δ of a Gaussian mechanism whose means are μ standard deviations apart."""
    return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu))


@pytest.mark.parametrize("survivors", [3, 5])
def test_the_released_noise_has_the_variance_that_is_charged(bits: Bits, survivors: int) -> None:
    bits(survivors)
    noise = SharedNoise(clip=0.75, noise_multiplier=2.0, least_members=3)
    total = noise.in_units(sum(noise.share(NOBODY) for _ in range(survivors)))
    # With the fewest it is the promise; with more it is what more shares make of it.
    assert noise.multiplier(survivors) == pytest.approx(2.0 * math.sqrt(survivors / 3), rel=1e-9)
    statistic = np.square(total).sum() / (noise.multiplier(survivors) * 0.75) ** 2
    assert chi2.ppf(ALPHA, len(total)) < statistic < chi2.isf(ALPHA, len(total))


def test_a_share_is_whole_and_holds_clipped_households(bits: Bits) -> None:
    bits(0)
    noise = SharedNoise(clip=1.0, noise_multiplier=1e-5, least_members=2)
    vectors = np.array([[3.0, 4.0], [0.3, 0.0]])
    share = noise.share(vectors)
    assert (share == np.rint(share)).all()
    np.testing.assert_allclose(noise.in_units(share), [0.6 + 0.3, 0.8], atol=1e-4)


def test_colluders_and_members_seen_in_plain_hide_nobody() -> None:
    noise = SharedNoise(clip=1.0, noise_multiplier=3.0, least_members=4, colluding=2)
    assert noise.multiplier(4) == pytest.approx(3.0)
    assert noise.multiplier(6) == pytest.approx(3.0 * math.sqrt(2))
    assert noise.multiplier(6, plain=2) == pytest.approx(3.0)
    # Its own share is always there.
    assert noise.multiplier(4, plain=3) == noise.plain_multiplier == pytest.approx(3.0 / math.sqrt(2))


@given(
    st.floats(0.1, 10),
    st.integers(1, 100),
    st.integers(2, 6),
    st.integers(0, 1),
    st.lists(st.integers(0, 9), max_size=9),
)
def test_whoever_survives_the_promise_is_kept(
    epsilon: float, rounds: int, least: int, colluding: int, more: list[int]
) -> None:
    noise = SharedNoise.for_budget(epsilon, 1e-5, rounds, 1.0, least, colluding)
    assert composed_epsilon([noise.multiplier(least)] * rounds, 1e-5) <= epsilon
    assert composed_epsilon([noise.multiplier(least)] * rounds, 1e-5) == pytest.approx(epsilon, rel=1e-6)
    spent = [composed_epsilon([noise.multiplier(least + extra)], 1e-5) for extra in sorted(more)]
    assert spent == sorted(spent, reverse=True)


@pytest.mark.parametrize("multipliers", [[1.0], [3.0, 2.0, 5.0], [4.0] * 30])
def test_epsilon_of_rounds_is_the_closed_form(multipliers: list[float]) -> None:
    mu = math.sqrt(sum(sigma**-2 for sigma in multipliers))
    for delta in (1e-3, 1e-6):
        assert delta_of(composed_epsilon(multipliers, delta), mu) == pytest.approx(delta, rel=1e-6)
    assert composed_epsilon([], 1e-5) == 0.0


@pytest.mark.extras
def test_epsilon_of_rounds_is_that_of_privacy_loss_distributions() -> None:
    from unlearn.dp import GaussianSteps, epsilon_spent

    noise = SharedNoise.for_budget(2.0, 1e-5, rounds=7, clip=1.0, least_members=3)
    kept = [noise.multiplier(count) for count in (3, 3, 4, 5, 5, 4, 3)]
    other = epsilon_spent([GaussianSteps(sigma, 1.0, 1) for sigma in kept], 1e-5)
    assert composed_epsilon(kept, 1e-5) == pytest.approx(other, rel=1e-3)


def discrete_gaussian(variance: float, reach: int) -> np.ndarray:
    weight = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    return weight / weight.sum()


@pytest.mark.parametrize(("variance", "shares"), [(0.5, 2), (0.5, 4), (1.0, 2), (1.0, 3)])
def test_a_sum_of_discrete_gaussians_is_as_near_to_one_as_stated(variance: float, shares: int) -> None:
    reach = 60
    one = total = discrete_gaussian(variance, reach)
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    other = discrete_gaussian(shares * variance, shares * reach)
    inside = slice(shares * reach - 6, shares * reach + 7)  # beyond it masses vanish in roundings
    largest = np.abs(np.log(total[inside] / other[inside])).max()
    bound = math.exp(sharing_error(variance, shares)) / 2  # of one neighbour
    assert 0 < largest <= bound


def test_the_error_of_shares_is_below_every_float() -> None:
    noise = SharedNoise(1.0, 0.5, least_members=100)
    assert math.exp(sharing_error(noise.share_variance, 100)) == 0.0
    assert sharing_error(1.0, 1) == -math.inf


def released(noise: SharedNoise, survivors: int, household: float) -> Callable[[int], np.ndarray]:
    """Runs of a round of one number, with what one household adds to it."""
    own = noise.grid.rounded([[household]])[0, 0]

    def run(n: int) -> np.ndarray:
        shares = sum(noise.share(np.zeros((0, n))) for _ in range(survivors))
        return noise.in_units(shares + own)

    return run


def test_an_audit_finds_shares_for_all_members_out_and_those_for_the_fewest_right(bits: Bits) -> None:
    bits(11)
    epsilon, delta, n_members, survivors = 1.0, 0.01, 24, 3
    right = SharedNoise.for_budget(epsilon, delta, 1, 1.0, least_members=survivors)
    sigma = gaussian_sigma_for(epsilon, delta, 1.0)
    # Each of the three adds 1/n of the variance, as if all n were to survive.
    naive = SharedNoise(1.0, sigma * math.sqrt(survivors / n_members), least_members=survivors)
    settings = {"n_runs": 2400, "delta": delta, "confidence": 1 - 1e-7}
    kept, fallen = (
        audit_epsilon(released(noise, survivors, 0.0), released(noise, survivors, 1.0), **settings)
        for noise in (right, naive)
    )
    assert not kept.breaks(epsilon)
    assert fallen.breaks(epsilon)
    told = epsilon_under_drop_outs(epsilon, delta, n_members, survivors, [survivors])
    assert kept.low <= told.right <= epsilon < fallen.low <= told.naive


def test_the_gap_of_naive_shares_is_what_is_missing() -> None:
    assert epsilon_under_drop_outs(1.0, 1e-5, 5, 3, [5] * 8).naive == pytest.approx(1.0, rel=1e-8)
    told = epsilon_under_drop_outs(1.0, 1e-5, 5, 3, [5, 4, 3])
    sigma = gaussian_sigma_for(1.0, 1e-5, 1.0) * math.sqrt(3)
    assert delta_of(told.naive, math.sqrt((5 / 5 + 5 / 4 + 5 / 3) / sigma**2)) == pytest.approx(1e-5, rel=1e-5)
    assert delta_of(told.right, math.sqrt((3 / 5 + 3 / 4 + 3 / 3) / sigma**2)) == pytest.approx(1e-5, rel=1e-5)
    assert told.right < told.promised < told.naive
    gaps = [epsilon_under_drop_outs(1.0, 1e-5, 6, 2, [count]).naive for count in (6, 5, 4, 3, 2)]
    assert gaps == sorted(gaps)


def test_a_budget_charges_each_member_for_the_rounds_that_it_was_in() -> None:
    noise = SharedNoise.for_budget(1.0, 1e-5, rounds=3, clip=1.0, least_members=2)
    budget = FederatedBudget(noise, 1.0, 1e-5)
    assert budget.spent() == 0.0
    budget.charge(RoundNoise(0, ("a", "b", "c")))
    budget.charge(RoundNoise(1, ("a", "b")))
    assert budget.multipliers("a") == [noise.multiplier(3), noise.multiplier(2)]
    assert budget.multipliers("c") == [noise.multiplier(3)]
    assert budget.spent() == budget.spent("a") > budget.spent("c") > budget.spent("nobody") == 0.0
    budget.charge(RoundNoise(2, ("a", "b", "c"), doubtful=True))
    assert budget.multipliers("c")[-1] == noise.multiplier(2)


def test_whoever_was_seen_in_plain_is_charged_at_its_own_noise_and_the_others_without_it() -> None:
    noise = SharedNoise(1.0, 4.0, least_members=3)
    budget = FederatedBudget(noise, 10.0, 1e-5)
    budget.charge(RoundNoise(0, ("a", "b", "c", "d"), plain=("a",)))
    assert budget.multipliers("a") == [noise.plain_multiplier]
    assert budget.multipliers("b") == [noise.multiplier(3)]
    budget.charge(RoundNoise(1, ("a", "b", "c"), plain=("a",), doubtful=True))
    assert budget.multipliers("c")[-1] == noise.plain_multiplier


def test_a_budget_ends_where_another_round_could_exceed_it() -> None:
    noise = SharedNoise.for_budget(1.0, 1e-5, rounds=2, clip=1.0, least_members=2)
    budget = FederatedBudget(noise, 1.0, 1e-5)
    for number in range(2):
        budget.require_left(("a", "b"))
        budget.charge(RoundNoise(number, ("a", "b")))
    assert budget.spent() <= 1.0
    budget.require_left(("c", "d"))  # whose households are in no round yet
    with pytest.raises(InputError, match=r"keep 1 at delta 1e-05 for households of a, which another round after 2"):
        budget.require_left(("c", "a"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": 0.0}, "clip: expected a number above 0"),
        ({"noise_multiplier": 0.0}, "noise_multiplier: expected a number above 0"),
        ({"noise_multiplier": 1e-8}, "which protects nobody"),
        ({"least_members": 0}, "least_members: expected a whole number of at least 1"),
        ({"colluding": 3}, "expected fewer than least_members = 3, got 3"),
        ({"colluding": -1}, "colluding: expected a whole number of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SharedNoise(**{"clip": 1.0, "noise_multiplier": 1.0, "least_members": 3, **settings})


def test_rounds_that_are_not_to_be_are_refused() -> None:
    noise = SharedNoise(1.0, 1.0, least_members=3)
    budget = FederatedBudget(noise, 1.0, 1e-5)
    with pytest.raises(InputError, match="at least least_members = 3, got 2"):
        budget.charge(RoundNoise(0, ("a", "b")))
    budget.charge(RoundNoise(0, ("a", "b", "c")))
    with pytest.raises(InputError, match="not charged, got 0 again"):
        budget.charge(RoundNoise(0, ("a", "b", "c")))
    with pytest.raises(InputError, match="got none"):
        RoundNoise(0, ())
    with pytest.raises(InputError, match="different name for each member"):
        RoundNoise(0, ("a", "a"))
    with pytest.raises(InputError, match="expected members of the round, got 1 others"):
        RoundNoise(0, ("a", "b"), plain=("c",))
    with pytest.raises(InputError, match="expected at least 1/2"):
        sharing_error(0.4, 2)
    for least, survivors in ((3, []), (6, [5]), (3, [6]), (3, [2])):
        with pytest.raises(InputError, match=r"expected at least"):
            epsilon_under_drop_outs(1.0, 1e-5, 5, least, survivors)
    with pytest.raises(InputError, match=r'expected "os" or SimulatedNoise'):
        noise.share(NOBODY, 7)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match=r"less than 2\^53"):
        SharedNoise(1.0, 1e9, least_members=1).share(np.zeros((0, 3)))
