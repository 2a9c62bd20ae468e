"""What was spent: three accountants against each other, a closed form, and known values."""

import io
import math
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from unlearn.dp import (
    GaussianSteps,
    default_delta,
    epsilon_by_prv,
    epsilon_by_rdp,
    epsilon_spent,
    noise_multiplier_for,
    require_guarantee,
)
from unlearn.errors import ConvergenceError, InputError

extras = pytest.mark.extras

#: Real settings: known from the literature, one plain mechanism, full batches, many steps of small batches.
RUNS = [
    (GaussianSteps(1.1, 0.05, 40), 1e-5),
    (GaussianSteps(1.0, 1.0, 1), 1e-5),
    (GaussianSteps(40.0, 1.0, 200), 8e-4),
    (GaussianSteps(4.0, 0.2, 300), 1e-3),
    (GaussianSteps(0.9, 0.02, 500), 1e-4),
]


def gaussian_epsilon(noise_multiplier: float, steps: int, delta: float) -> float:
    """Balle & Wang (2018, theorem 8), the exact ε of steps of the Gaussian mechanism, by root finding."""
    mu = math.sqrt(steps) / noise_multiplier

    def excess(epsilon: float) -> float:
        second = norm.logcdf(-mu / 2 - epsilon / mu) + epsilon
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(min(second, 0.0)) - delta

    return brentq(excess, 0, mu * (mu + 40), xtol=1e-12) if excess(0.0) > 0 else 0.0


@extras
@pytest.mark.parametrize(("run", "delta"), RUNS)
def test_pld_lies_between_the_bounds_of_prv_and_below_rdp(run: GaussianSteps, delta: float) -> None:
    found = epsilon_spent([run], delta)
    low, estimate, high = epsilon_by_prv([run], delta, eps_error=1e-3)
    assert low <= estimate <= high
    assert high - low < 4e-3
    assert low <= found <= high
    assert found <= epsilon_by_rdp([run], delta)


@extras
def test_a_known_run_spends_what_it_is_known_to_spend() -> None:
    parts = [GaussianSteps(1.1, 0.05, 40)]
    assert epsilon_spent(parts, 1e-5) == pytest.approx(2.00, abs=0.005)
    assert epsilon_by_prv(parts, 1e-5).high == pytest.approx(2.01, abs=0.01)
    assert epsilon_by_rdp(parts, 1e-5) == pytest.approx(2.41, abs=0.005)


@extras
@pytest.mark.parametrize("noise_multiplier", [1.0, 20.0])
@pytest.mark.parametrize("steps", [1, 20])
def test_full_batches_spend_what_the_closed_form_says(noise_multiplier: float, steps: int) -> None:
    exact = gaussian_epsilon(noise_multiplier, steps, 1e-4)
    found = epsilon_spent([GaussianSteps(noise_multiplier, 1.0, steps)], 1e-4)
    # From above, but for the rounding of a sum of thousands of probabilities.
    assert exact * (1 - 1e-6) <= found <= exact * (1 + 1e-3)


@extras
def test_parts_add_up_as_one_gaussian_mechanism() -> None:
    # Of Gaussian mechanisms, 1/σ² adds up.
    parts = [GaussianSteps(3.0, 1.0, 4), GaussianSteps(5.0, 1.0, 1), GaussianSteps(2.0, 1.0, 2)]
    together = 1 / math.sqrt(4 / 9 + 1 / 25 + 2 / 4)
    assert epsilon_spent(parts, 1e-4) == pytest.approx(gaussian_epsilon(together, 1, 1e-4), rel=1e-3)
    assert epsilon_spent(parts, 1e-4) > max(epsilon_spent([part], 1e-4) for part in parts)


@extras
@pytest.mark.parametrize(
    ("epsilon", "sampling_rate", "steps", "others"),
    [(1.0, 1.0, 30, []), (1.0, 1.0, 30, [GaussianSteps(10.0, 1.0, 3)]), (4.0, 0.2, 5, [GaussianSteps(10.0, 1.0, 3)])],
)
def test_noise_that_is_asked_for_keeps_the_promise_and_no_more(
    epsilon: float, sampling_rate: float, steps: int, others: list[GaussianSteps]
) -> None:
    found = noise_multiplier_for(epsilon, 1e-3, sampling_rate, steps, others)
    assert epsilon_spent([*others, GaussianSteps(found, sampling_rate, steps)], 1e-3) <= epsilon
    less = GaussianSteps(0.998 * found, sampling_rate, steps)
    assert epsilon_spent([*others, less], 1e-3) > epsilon


@extras
def test_what_others_spent_is_not_spent_twice() -> None:
    with pytest.raises(InputError, match=r"the other parts have spent .* of 0\.5 already"):
        noise_multiplier_for(0.5, 1e-3, 1.0, 10, [GaussianSteps(1.0, 1.0, 1)])


def test_a_part_without_noise_spends_everything() -> None:
    parts = [GaussianSteps(1.0, 0.5, 3), GaussianSteps(0.0, 0.5, 3)]
    assert epsilon_spent(parts, 1e-3) == epsilon_by_rdp(parts, 1e-3) == epsilon_by_prv(parts, 1e-3).high == math.inf


@pytest.mark.parametrize(
    ("epsilon", "delta", "n", "message"),
    [
        (0.0, 1e-3, 100, "epsilon: expected a number above 0"),
        (math.inf, 1e-3, 100, "epsilon: expected a number above 0"),
        (1.0, 0.0, 100, "delta"),
        (1.0, 0.01, 100, r"delta: expected less than 1/N = 0\.01 for 100 households, got 0\.01.*0\.001 or less"),
        (1.0, 1e-3, 0, "number of households"),
    ],
)
def test_promises_that_are_none_are_refused(epsilon: float, delta: float, n: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_guarantee(epsilon, delta, n)


@given(st.integers(1, 10**6))
def test_the_default_delta_is_a_promise(n: int) -> None:
    require_guarantee(1.0, default_delta(n), n)
    assert default_delta(n) * n == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((-1.0, 0.5, 3), "noise_multiplier"),
        ((1.0, 0.0, 3), "sampling_rate"),
        ((1.0, 1.2, 3), "sampling_rate: expected at most 1"),
        ((1.0, np.nan, 3), "sampling_rate"),
        ((np.float64(-3.2), 0.5, 3), r"noise_multiplier: expected a number of at least 0, got -3\.2\."),
        ((1.0, np.float32(1.5), np.int64(3)), "sampling_rate: expected at most 1, got 1.5"),
        ((1.0, 0.5, np.int64(0)), "steps: expected a whole number of at least 1, got 0"),
        ((1.0, 0.5, 0), "steps"),
        ((1.0, 0.5, 2.5), "steps"),
    ],
)
def test_steps_that_cannot_be_run_are_refused(settings: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GaussianSteps(*settings)


@pytest.mark.parametrize("accountant", [epsilon_spent, epsilon_by_rdp, epsilon_by_prv])
def test_nothing_to_account_for_is_refused(accountant) -> None:
    with pytest.raises(InputError, match="at least one part"):
        accountant([], 1e-3)
    with pytest.raises(InputError, match="delta"):
        accountant([GaussianSteps(1.0, 1.0, 1)], 1.0)


@pytest.mark.parametrize(
    ("accountant", "package"),
    [(epsilon_spent, "dp_accounting"), (epsilon_by_rdp, "opacus"), (epsilon_by_prv, "opacus")],
)
def test_a_missing_package_is_named(accountant, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r'pip install "unlearn\[private\]"'):
        accountant([GaussianSteps(1.2345, 1.0, 1)], 1e-3)


@extras
def test_accounting_leaves_the_stream_open_that_stderr_was() -> None:
    """absl closes it when logging is configured anew, as Hydra does for every job."""
    from absl import logging as absl_logging

    from unlearn.dp.accounting import _accounting

    stream = io.StringIO()
    handler = absl_logging.get_absl_handler()
    handler.python_handler.setStream(stream)
    _accounting()
    handler.close()
    assert not stream.closed


# ---- inside their range, at any size


@extras
@pytest.mark.parametrize("epsilon", [300.0, 700.0, 720.0, 760.0, 2000.0])
@pytest.mark.parametrize("delta", [0.5, 0.01, 1e-6])
def test_losses_whose_exponentials_overflow_are_found(epsilon: float, delta: float) -> None:
    noise = 1 / math.sqrt(2 * epsilon)
    found = epsilon_spent([GaussianSteps(noise, 1.0, 1)], delta)
    assert found == pytest.approx(gaussian_epsilon(noise, 1, delta), rel=2e-3)


@extras
@example(level=-1.5546875, steps=1, delta=0.01)
@given(
    level=st.floats(-1.7, 3.0),
    steps=st.sampled_from([1, 7, 1000]),
    delta=st.floats(-9.0, -0.05).map(lambda power: 10**power),
)
def test_full_batches_of_any_size_spend_what_the_closed_form_says(level: float, steps: int, delta: float) -> None:
    run = [GaussianSteps(10**level, 1.0, steps)]
    if steps / 10 ** (2 * level) > 1e5:
        steps, run = 1, [GaussianSteps(10**level, 1.0, 1)]
    exact = gaussian_epsilon(10**level, steps, delta)
    found, renyi = epsilon_spent(run, delta), epsilon_by_rdp(run, delta)
    assert exact * (1 - 1e-6) - 1e-9 <= found <= exact * (1 + 2e-3) + 2e-4
    assert renyi >= found >= 0


@extras
@pytest.mark.parametrize(
    ("noise", "rate", "steps"),
    [(5.0, 0.01, 10), (1.0, 1e-6, 1), (1000.0, 1e-6, 1000), (1.0, 0.01, 3), (0.02, 1e-6, 1), (30.0, 0.5, 2)],
)
@pytest.mark.parametrize("delta", [0.9, 0.5, 0.1, 1e-3, 1e-6])
def test_what_is_spent_is_never_negative_and_rdp_is_above(noise, rate, steps, delta) -> None:
    run = [GaussianSteps(noise, rate, steps)]
    found = epsilon_spent(run, delta)
    assert epsilon_by_rdp(run, delta) >= found >= 0
    assert math.isfinite(found)


@extras
@pytest.mark.parametrize(("noise", "rate", "steps"), [(5.0, 0.01, 10), (1000.0, 1e-6, 100), (0.05, 1.0, 1)])
@pytest.mark.parametrize("delta", [0.5, 1e-5])
def test_prv_encloses_pld_and_is_never_negative(noise, rate, steps, delta) -> None:
    run = [GaussianSteps(noise, rate, steps)]
    low, estimate, high = epsilon_by_prv(run, delta)
    found = epsilon_spent(run, delta)
    assert 0 <= low <= estimate <= high
    assert low * (1 - 1e-3) <= found <= high * (1 + 1e-3)
    assert type(low) is type(estimate) is type(high) is float


@extras
def test_thousands_are_computed_and_bounded_by_all_accountants() -> None:
    # Losses of e^t overflow at t = 709.
    run, exact = [GaussianSteps(0.5, 1.0, 1000)], gaussian_epsilon(0.5, 1000, 1e-5)
    low, estimate, high = epsilon_by_prv(run, 1e-5)
    assert low <= exact <= high
    assert estimate == pytest.approx(exact, rel=1e-3)
    assert exact <= epsilon_spent(run, 1e-5) * (1 + 1e-9) <= epsilon_by_rdp(run, 1e-5)
    assert epsilon_spent(run, 1e-5) == pytest.approx(exact, rel=1e-3)


@extras
def test_losses_of_billions_do_not_overflow() -> None:
    exact = gaussian_epsilon(0.02, 10**6, 1e-5)
    assert epsilon_spent([GaussianSteps(0.02, 1.0, 10**6)], 1e-5) == pytest.approx(exact, rel=1e-3)
    assert epsilon_by_rdp([GaussianSteps(0.02, 1.0, 10**6)], 1e-5) >= exact * (1 - 1e-9)


@extras
def test_a_million_steps_are_not_rounded_up_one_by_one() -> None:
    run = [GaussianSteps(1.0, 0.01, 10**6)]
    assert epsilon_spent(run, 1e-5) < epsilon_by_rdp(run, 1e-5)


@extras
@pytest.mark.parametrize("epsilon", [1e-4, 0.1, 50.0, 1e4])
def test_noise_is_found_for_tiny_and_huge_promises(epsilon: float) -> None:
    found = noise_multiplier_for(epsilon, 1e-5, 1.0, 4)
    assert gaussian_epsilon(found, 4, 1e-5) <= epsilon * (1 + 1e-6)
    assert gaussian_epsilon(0.9 * found, 4, 1e-5) > epsilon


@extras
def test_promises_that_no_noise_or_any_noise_keeps_are_refused() -> None:
    with pytest.raises(InputError, match=r"spend less than 1 at delta 1e-05 even with .* Lower epsilon, or delta"):
        noise_multiplier_for(1.0, 1e-5, 1e-6, 1)
    with pytest.raises(ConvergenceError, match=r"none below a million .* Take fewer steps, or raise epsilon"):
        noise_multiplier_for(1e-6, 1e-9, 1.0, 10**6)
    for epsilon in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="epsilon: expected a number above 0"):
            noise_multiplier_for(epsilon, 1e-5, 1.0, 1)
    with pytest.raises(InputError, match="steps"):
        noise_multiplier_for(1.0, 1e-5, 1.0, 0)
