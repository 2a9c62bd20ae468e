"""What several answers cost: known values, formulas by hand, OpenDP and privacy loss distributions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from unlearn.dp import Loss, advanced, basic, epsilon_of, gaussian_epsilon, gaussian_sigma_for, rho_for, zcdp
from unlearn.errors import ConvergenceError, InputError

EPSILONS = st.floats(1e-4, 3.0)
DELTAS = st.floats(1e-12, 0.2)


@pytest.mark.parametrize(
    ("answers", "added", "by_advanced", "by_rho"),
    # A curve of a day at ε = 0.5 an hour costs 12; a week and a year, where the other rules pay off.
    [(24, 12.0, 12.0, 14.9479), (168, 84.0, 54.6393, 53.5227), (8760, 4380.0, 1318.7355, 1337.7494)],
)
def test_answers_of_half_an_epsilon(answers: int, added: float, by_advanced: float, by_rho: float) -> None:
    losses = [Loss.pure(0.5)] * answers
    assert basic(losses) == (added, 0.0)
    assert advanced(losses, 1e-6) == pytest.approx(by_advanced, abs=1e-4)
    assert zcdp(losses, 1e-6) == pytest.approx(by_rho, abs=1e-4)


def test_decimals_add_up_as_they_are_written() -> None:
    assert basic([Loss.pure(0.1)] * 10) == (1.0, 0.0)
    assert basic([Loss.pure(0.1), Loss.pure(0.2)]) == (0.3, 0.0)
    assert basic([Loss(1.0, 1e-6, math.inf)] * 3) == (3.0, 3e-6)
    assert basic([]) == (0.0, 0.0)


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_sums_are_never_below_what_is_written(epsilons: list[float]) -> None:
    exact = sum(Fraction(repr(epsilon)) for epsilon in epsilons)
    found, _ = basic([Loss(epsilon, 0.0, math.inf) for epsilon in epsilons])
    assert Fraction(repr(found)) >= exact
    assert found <= float(exact) * (1 + 1e-15)


@given(st.lists(EPSILONS, min_size=1, max_size=40), DELTAS)
def test_advanced_is_the_theorem(epsilons: list[float], delta: float) -> None:
    own = np.array(epsilons)
    mean = (np.expm1(own) * own / (np.exp(own) + 1)).sum()
    root = math.sqrt((own**2).sum())
    first = mean + math.sqrt(2 * (own**2).sum() * math.log(math.e + root / delta))
    second = mean + math.sqrt(2 * (own**2).sum() * math.log(1 / delta))
    found = advanced([Loss.pure(epsilon) for epsilon in epsilons], delta)
    assert found == pytest.approx(min(own.sum(), first, second), rel=1e-9)
    assert found <= basic([Loss.pure(epsilon) for epsilon in epsilons])[0]


def test_advanced_pays_for_the_deltas_of_the_answers() -> None:
    losses = [Loss(0.1, 1e-8, math.inf)] * 50
    assert advanced(losses, 1e-6) == pytest.approx(advanced([Loss.pure(0.1)] * 50, 5e-7), rel=1e-9)
    assert advanced(losses, 5e-7) == 5.0
    assert advanced(losses, 4e-7) == math.inf
    assert advanced([Loss.gaussian(1.0, 1.0)], 1e-6) == math.inf


@given(st.floats(1e-8, 1e4), DELTAS)
def test_the_conversion_is_the_least_of_all_orders(rho: float, delta: float) -> None:
    def at(log_order: float) -> float:
        alpha = 1 + math.exp(log_order)
        return alpha * rho + math.log1p(-1 / alpha) - math.log(delta * alpha) / (alpha - 1)

    grid = np.linspace(-12, 14, 400)
    start = grid[np.argmin([at(one) for one in grid])]
    least = minimize_scalar(at, bounds=(start - 0.2, start + 0.2), method="bounded", options={"xatol": 1e-10}).fun
    assert epsilon_of(rho, delta) == pytest.approx(max(0.0, least), rel=1e-8, abs=1e-9)


@given(st.floats(1e-3, 50.0), DELTAS)
def test_the_conversion_lies_between_the_exact_gaussian_and_the_loose_rule(rho: float, delta: float) -> None:
    found = epsilon_of(rho, delta)
    assert found <= rho + 2 * math.sqrt(-rho * math.log(delta)) + 1e-9
    # One Gaussian answer has this ρ, and its exact δ at the ε that was found is below δ.
    mu = math.sqrt(2 * rho)
    exact = norm.cdf(mu / 2 - found / mu) - math.exp(min(700.0, found + norm.logcdf(-mu / 2 - found / mu)))
    assert exact <= delta * (1 + 1e-9)


@given(st.floats(1e-4, 100.0), DELTAS)
@example(1e-6, 1e-9)
@example(50.0, 0.5)
def test_rho_is_the_largest_that_keeps_the_promise(epsilon: float, delta: float) -> None:
    rho = rho_for(epsilon, delta)
    assert epsilon_of(rho, delta) <= epsilon
    assert epsilon_of(rho * (1 + 1e-6), delta) > epsilon


@given(st.lists(EPSILONS, min_size=1, max_size=10), EPSILONS, DELTAS)
def test_more_answers_cost_more_and_more_delta_costs_less(epsilons: list[float], more: float, delta: float) -> None:
    losses = [Loss.pure(epsilon) for epsilon in epsilons]
    for rule in (advanced, zcdp):
        assert rule(losses, delta) <= rule([*losses, Loss.pure(more)], delta) * (1 + 1e-9)
        assert rule(losses, delta) <= rule(losses, delta / 2) * (1 + 1e-9)


@given(st.floats(0.01, 20.0), DELTAS, st.floats(1e-3, 1e6))
def test_sigma_is_the_least_that_keeps_the_promise(epsilon: float, delta: float, sensitivity: float) -> None:
    sigma = gaussian_sigma_for(epsilon, delta, sensitivity)
    ratio = sensitivity / sigma

    def exact(mu: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon + norm.logcdf(-mu / 2 - epsilon / mu))

    assume(exact(ratio) > 1e-13)  # below, the difference of two probabilities has no digits left
    assert exact(ratio) == pytest.approx(delta, rel=1e-3, abs=1e-13)
    # By ρ, which suffices but is not tight for one answer, it takes more.
    assert sigma <= sensitivity / math.sqrt(2 * rho_for(epsilon, delta)) * (1 + 1e-9)


@given(st.floats(0.01, 50.0), DELTAS, st.floats(1e-3, 1e6))
def test_epsilon_of_a_sigma_undoes_sigma_of_an_epsilon(epsilon: float, delta: float, sensitivity: float) -> None:
    sigma = gaussian_sigma_for(epsilon, delta, sensitivity)
    found = gaussian_epsilon(sensitivity, sigma, delta)
    assert found == pytest.approx(epsilon, rel=1e-8)
    # It is a bound, and below that by ρ, which suffices but is not tight for one answer.
    assert gaussian_epsilon(sensitivity, sigma * (1 - 1e-6), delta) > epsilon
    assert found <= epsilon_of((sensitivity / sigma) ** 2 / 2, delta) * (1 + 1e-9)


def test_noise_that_delta_covers_alone_costs_nothing() -> None:
    # At ε = 0 the total variation is 2 Φ(Δ/2σ) - 1.
    delta = 2 * norm.cdf(0.005) - 1
    assert gaussian_epsilon(1.0, 100.0, delta * 1.01) == 0.0
    assert 0 < gaussian_epsilon(1.0, 100.0, delta * 0.99) < 1e-3


def test_answers_without_a_rho_have_no_cost_in_it() -> None:
    assert zcdp([Loss(1.0, 1e-6, math.inf)], 1e-5) == math.inf
    assert zcdp([], 1e-5) == advanced([], 1e-5) == 0.0
    assert Loss.gaussian(sensitivity=3.0, sigma=6.0) == (math.inf, 0.0, 0.125)


@pytest.mark.parametrize(
    "loss", [Loss(-1.0, 0.0, 1.0), Loss(math.nan, 0.0, 1.0), Loss(1.0, 1.0, 1.0), Loss(1.0, 0.0, -1.0)]
)
def test_what_is_no_loss_is_refused(loss: Loss) -> None:
    for rule in (basic, lambda losses: advanced(losses, 1e-6), lambda losses: zcdp(losses, 1e-6)):
        with pytest.raises(InputError, match="losses: expected an epsilon and a rho of at least 0"):
            rule([loss])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"Write math\.inf where an answer has no rho"):
        basic([Loss(1.0, 1e-6, 0.0)])
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="delta"):
            advanced([], delta)
        with pytest.raises(InputError, match="delta"):
            zcdp([], delta)
        with pytest.raises(InputError, match="delta"):
            epsilon_of(1.0, delta)
    for rho in (-1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="rho"):
            epsilon_of(rho, 1e-6)
    for epsilon in (0.0, math.inf):
        with pytest.raises(InputError, match="epsilon"):
            Loss.pure(epsilon)
        with pytest.raises(InputError, match="epsilon"):
            rho_for(epsilon, 1e-6)
    with pytest.raises(InputError, match="sigma"):
        Loss.gaussian(1.0, 0.0)
    with pytest.raises(InputError, match="sensitivity"):
        gaussian_sigma_for(1.0, 1e-6, 0.0)
    with pytest.raises(InputError, match="sigma"):
        gaussian_epsilon(1.0, 0.0, 1e-6)
    with pytest.raises(ConvergenceError, match="Raise either"):
        gaussian_sigma_for(1e-14, 1e-14, 1.0)


@pytest.mark.extras
@pytest.mark.parametrize(("epsilon", "answers"), [(0.5, 24), (0.5, 168), (0.1, 1000), (1.0, 3)])
def test_the_rules_are_bounds_of_what_loss_distributions_give_for_laplace(epsilon: float, answers: int) -> None:
    from dp_accounting.pld import privacy_loss_distribution as pld

    one = pld.from_laplace_mechanism(1 / epsilon, value_discretization_interval=1e-3, pessimistic_estimate=False)
    exact = one.self_compose(answers).get_epsilon_for_delta(1e-6)
    losses = [Loss.pure(epsilon)] * answers
    found = min(basic(losses)[0], advanced(losses, 1e-6), zcdp(losses, 1e-6))
    assert exact <= found + 1e-6
    # Laplace noise is not the worst that has this ε, but not far from it.
    assert found <= 1.5 * exact


@pytest.mark.extras
def test_gaussian_answers_cost_what_loss_distributions_give() -> None:
    from dp_accounting.pld import privacy_loss_distribution as pld

    exact = pld.from_gaussian_mechanism(1.0, value_discretization_interval=1e-3).get_epsilon_for_delta(1e-6)
    found = zcdp([Loss.gaussian(1.0, 10.0)] * 100, 1e-6)
    assert exact <= found <= 1.1 * exact
    assert 1 / gaussian_sigma_for(exact, 1e-6, 1.0) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.extras
@pytest.mark.parametrize("rho", [1e-3, 0.1, 3.0, 50.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
def test_the_conversion_is_that_of_opendp(rho: float, delta: float) -> None:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    # A mechanism with this ρ: a distance of 1 under Gaussian noise of σ = 1 / √(2ρ).
    gaussian = dp.m.make_gaussian(
        dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float), 1 / math.sqrt(2 * rho)
    )
    own = gaussian.map(1.0)
    theirs = dp.c.make_fix_delta(dp.c.make_zCDP_to_approxDP(gaussian), delta).map(1.0)[0]
    assert theirs == pytest.approx(epsilon_of(own, delta), rel=1e-5, abs=1e-9)
