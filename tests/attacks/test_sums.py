"""Scores of sums against the Gaussian likelihood ratio, controls, and how a crowd hides."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from unlearn.attacks import SumOptions, attack_sums, sum_scores
from unlearn.attacks.sums import _SHRINKAGE
from unlearn.errors import InputError


def homes(n: int = 120, steps: int = 96, seed: int = 0) -> np.ndarray:
    """Households whose level differs, and which have all more in the second half."""
    random = np.random.default_rng(seed)
    level = random.gamma(4.0, 0.1, (n, 1)) * np.where(np.arange(steps) < steps // 2, 1.0, 2.0)
    return level * random.gamma(1.0, 1.0, (n, steps))


def test_the_likelihood_ratio_is_that_of_gaussians() -> None:
    reference, others = homes(30, 8), homes(12, 8, seed=1)
    m, target = 5, others[:4]
    total = others[4:8] * 3
    mean, spread = reference.mean(axis=0), np.sqrt(reference.var(axis=0, ddof=1) + 1e-6)
    covariance = np.cov((reference - mean) / spread, rowvar=False) + _SHRINKAGE * np.eye(8)
    residual, deviation = (total - m * mean) / spread, (target - mean) / spread
    pairs = list(zip(residual, deviation, strict=True))
    expected = [
        multivariate_normal.logpdf(r, d, (m - 1) * covariance)
        - multivariate_normal.logpdf(r, np.zeros(8), m * covariance)
        for r, d in pairs
    ]
    np.testing.assert_allclose(sum_scores(total, m, target, reference), expected, rtol=1e-9)
    inverse = np.linalg.inv(covariance)
    cosine = [r @ inverse @ d / np.sqrt((r @ inverse @ r) * (d @ inverse @ d)) for r, d in pairs]
    np.testing.assert_allclose(sum_scores(total, m, target, reference, "correlation"), cosine, rtol=1e-9)


@pytest.mark.parametrize("statistic", ["likelihood_ratio", "correlation"])
def test_one_household_is_found_and_a_crowd_hides_it_the_better_the_larger(statistic: str) -> None:
    kwh = homes()
    options = SumOptions(n_trials=200, statistic=statistic)
    auc = [attack_sums(kwh, m, options).auc for m in (1, 4, 40)]
    assert auc[0].value == 1.0
    assert auc[0].value >= auc[1].value > auc[2].value > 0.5
    assert auc[1].low > 0.8


@pytest.mark.parametrize("statistic", ["likelihood_ratio", "correlation"])
def test_a_target_that_is_never_in_is_not_found(statistic: str) -> None:
    options = SumOptions(n_trials=300, statistic=statistic, takes_part=False)
    for m in (1, 5, 30):
        auc = attack_sums(homes(), m, options).auc
        assert auc.low < 0.5 < auc.high


def test_more_steps_tell_more() -> None:
    kwh = homes(steps=960)
    short, long = (attack_sums(kwh[:, :steps], 30, SumOptions(n_trials=200)).auc for steps in (24, 960))
    assert long.value > short.value + 0.05


def test_blocks_do_not_change_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    kwh, options = homes(40), SumOptions(n_trials=100)
    monkeypatch.setattr("unlearn.attacks.sums._BLOCK", 96 * 7)
    assert attack_sums(kwh, 1, options).auc.value == 1.0
    assert attack_sums(kwh, 3, options).auc.value > 0.7


def test_constant_readings_are_scored_without_failing() -> None:
    flat = np.ones((5, 6))
    for statistic in ("likelihood_ratio", "correlation"):
        assert np.isfinite(sum_scores(5 * flat, 5, flat, flat, statistic)).all()


def test_unusable_input_is_refused() -> None:
    kwh = homes(10, 6)
    with pytest.raises(InputError, match="expected at least 9 households beside the 4 that the attacker knows"):
        attack_sums(kwh, 8)
    with pytest.raises(InputError, match="n_households"):
        attack_sums(kwh, 0)
    with pytest.raises(InputError, match="kwh: expected finite"):
        attack_sums(kwh * np.nan, 2)
    with pytest.raises(InputError, match="target: expected shape"):
        sum_scores(kwh, 2, kwh[1:], kwh)
    with pytest.raises(InputError, match="reference: expected shape"):
        sum_scores(kwh, 2, kwh, kwh[:, 1:])
    with pytest.raises(InputError, match="reference: expected at least 3 households"):
        sum_scores(kwh, 2, kwh, kwh[:2])
    with pytest.raises(InputError, match="statistic: expected one of correlation, likelihood_ratio"):
        sum_scores(kwh, 2, kwh, kwh, "rank")
    for options, message in (
        ({"n_trials": 0}, r"sums\.n_trials"),
        ({"reference": 1.0}, r"sums\.reference"),
        ({"statistic": "rank"}, r"sums\.statistic"),
    ):
        with pytest.raises(InputError, match=message):
            SumOptions(**options)
