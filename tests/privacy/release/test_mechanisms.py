"""OpenDP's noise has the scale of the formula and the promised distribution; a wrong promise is refused."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from tests.privacy.release.test_bounding import view_of
from unlearn.dp import NoiseSource, SimulatedNoise, noise_source
from unlearn.errors import InputError
from unlearn.privacy.release import MECHANISMS, Contribution, PromiseError, Sensitivity
from unlearn.privacy.release.mechanisms import Asking, GaussianMechanism, Mechanism

#: Of live statistics: one false alarm in a million runs.
ALPHA = 1e-6
MOVES = Sensitivity(l1=60, l2=13, linf=5)
NAMES = ("laplace", "gaussian", "discrete_laplace", "discrete_gaussian")


class Simulated:
    name, simulated = "made up", True


def asking(name: str, amount: float, source: NoiseSource) -> Asking:
    contribution = Contribution("household", 3.0)
    return Asking(contribution, view_of(24), 0.9, MECHANISMS[name], amount, source)


def amount_of(name: str, scale: float) -> float:
    """ε or ρ with which the noise has this scale, in whole steps."""
    return MOVES.l1 / scale if "laplace" in name else (MOVES.l2 / scale) ** 2 / 2


def masses(name: str, scale: float) -> dict[int, float]:
    reach = math.ceil(45 * scale) + 2
    power = 1 if "laplace" in name else 2
    weight = {x: math.exp(-((abs(x) / scale) ** power) / power) for x in range(-reach, reach + 1)}
    total = math.fsum(weight.values())
    return {x: own / total for x, own in weight.items()}


def fits(drawn: np.ndarray, mass: dict[int, float]) -> bool:
    """A chi-square test at one false alarm in a million."""
    expected = {x: len(drawn) * own for x, own in mass.items()}
    often = sorted(x for x, count in expected.items() if count >= 20)
    observed, wanted = np.array([(drawn == x).sum() for x in often]), np.array([expected[x] for x in often])
    left = len(drawn) - wanted.sum()
    statistic = ((observed - wanted) ** 2 / wanted).sum() + (len(drawn) - observed.sum() - left) ** 2 / max(left, 1.0)
    return bool(statistic < chi2.isf(ALPHA, len(often)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("amount", [1e-4, 0.1, 1.0, 7.0])
def test_scales_are_those_of_the_formulas(name: str, amount: float) -> None:
    formula = MOVES.l1 / amount if "laplace" in name else MOVES.l2 / math.sqrt(2 * amount)
    scale = MECHANISMS[name].scale_for(MOVES, amount)
    assert scale == pytest.approx(formula, rel=1e-11)
    assert scale > formula  # never below the promise


@pytest.mark.extras
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("amount", [1e-3, 0.3, 2.0])
@pytest.mark.parametrize("step", [1.0, 2.0**-20])
def test_opendp_promises_what_the_formula_says(name: str, amount: float, step: float) -> None:
    # A measurement that says anything else raises; sums are not changed beyond the noise.
    totals = np.array([0, 10**12, -5])
    found = MECHANISMS[name].add(totals, step, MOVES, amount)
    assert np.abs(found / step - totals).max() < 40 * MECHANISMS[name].scale_for(MOVES, amount)


@pytest.mark.extras
@pytest.mark.parametrize("name", ["discrete_laplace", "discrete_gaussian"])
@pytest.mark.parametrize("scale", [0.8, 4.0])
def test_discrete_noise_has_its_masses(name: str, scale: float) -> None:
    drawn = MECHANISMS[name].add(np.full(20_000, 7), 1.0, MOVES, amount_of(name, scale)) - 7
    assert fits(drawn, masses(name, scale))
    assert not fits(drawn, masses(name, scale / 2))


@pytest.mark.extras
@pytest.mark.parametrize("name", NAMES)
def test_wide_noise_is_the_continuous_distribution(name: str) -> None:
    scale, step = 1e6, 2.0**-20
    drawn = MECHANISMS[name].add(np.full(20_000, 10**9), step, MOVES, amount_of(name, scale))
    own = "laplace" if "laplace" in name else "norm"
    assert kstest((drawn / step - 10**9) / scale, own).pvalue > ALPHA
    assert kstest((drawn / step - 10**9) / (1.3 * scale), own).pvalue < ALPHA
    assert abs(np.mean((drawn[1:] / step - 10**9) * (drawn[:-1] / step - 10**9)) / scale**2) < 0.2  # independent


@pytest.mark.extras
@pytest.mark.parametrize("wrong", [0.5, 1e-10, 1.001])
def test_noise_of_another_scale_is_refused(wrong: float) -> None:
    @dataclass(frozen=True)
    class OffLaplace(Mechanism):
        def scale_for(self, sensitivity: Sensitivity, amount: float) -> float:
            return wrong * super().scale_for(sensitivity, amount)

    @dataclass(frozen=True)
    class OffGaussian(GaussianMechanism):
        def scale_for(self, sensitivity: Sensitivity, amount: float) -> float:
            return wrong * super().scale_for(sensitivity, amount)

    for whole in (True, False):
        for own in (OffLaplace("laplace", whole), OffGaussian("gaussian", whole)):
            with pytest.raises(PromiseError, match="Nothing was released"):
                own.add(np.zeros(3, dtype=np.int64), 1.0, MOVES, 0.5)


@pytest.mark.extras
@pytest.mark.parametrize("name", ["discrete_laplace", "discrete_gaussian"])
def test_choices_keep_their_promise_and_are_good(name: str) -> None:
    own, scores = asking(name, 1.0, noise_source("os")), -np.arange(30)[::-1] * 4
    scale, chosen = own.selection_scale(5, 1 / 3), [own.selected(scores, 5, 1 / 3) for _ in range(400)]
    formula = 2 * 5 * 3 if name == "discrete_laplace" else 5 / math.sqrt(2 / 3)
    assert scale == pytest.approx(formula, rel=1e-11)
    short = -scores[chosen]
    # At beta = 1e-8 for each of 400 choices.
    assert short.max() <= scale * math.log(30 / 1e-8)
    assert np.mean(short) < scale * math.log(30)


@pytest.mark.extras
def test_choices_have_the_chances_of_their_mechanisms() -> None:
    scores = np.array([0, -3, -6])
    gumbel = asking("discrete_gaussian", 0.5 / 9, noise_source("os"))  # s = 3 at a sensitivity of 1
    weight = np.exp(scores / gumbel.selection_scale(1, 1.0))
    drawn = np.bincount([gumbel.selected(scores, 1, 1.0) for _ in range(6000)], minlength=3)
    wanted = 6000 * weight / weight.sum()
    assert ((drawn - wanted) ** 2 / wanted).sum() < chi2.isf(ALPHA, 2)


@pytest.mark.parametrize("name", NAMES)
def test_noise_from_a_seed_has_the_same_scale_and_repeats(name: str) -> None:
    discrete = MECHANISMS[name].simulated_as

    def drawn(seed: int) -> np.ndarray:
        own = asking(name, amount_of(name, 4.0), noise_source(SimulatedNoise(seed), Simulated()))
        found = own.noisy(np.full(4000, 9), MOVES, 1.0)
        assert found.noise == discrete
        assert found.scale == pytest.approx(4.0, rel=1e-9)
        assert np.mean((found.low <= 9) & (found.high >= 9)) >= 0.88
        return found.values - 9

    assert fits(drawn(0), masses(discrete, 4.0))
    np.testing.assert_array_equal(drawn(0), drawn(0))
    assert (drawn(0) != drawn(1)).any()


@pytest.mark.parametrize("scale", [Fraction(1, 3), 0.7, 2.5, 8])
def test_discrete_laplaces_have_their_exact_masses(scale: float, bits: Callable[[int], None]) -> None:
    bits(5)
    drawn = np.array(noise_source("os").discrete_laplaces(6000, scale))
    assert fits(drawn, masses("discrete_laplace", float(scale)))


def test_discrete_laplaces_refuse_scales_that_are_none() -> None:
    for bad in (0, -1.0, math.inf, Fraction(-1, 2)):
        with pytest.raises(InputError, match="scale"):
            noise_source("os").discrete_laplaces(3, bad)


def test_a_mechanism_is_found_by_name() -> None:
    assert MECHANISMS.names() == ("discrete_laplace", "discrete_gaussian", "laplace", "gaussian")
    with pytest.raises(InputError, match="Did you mean"):
        MECHANISMS["laplacian"]
