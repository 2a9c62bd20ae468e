"""Can one tell which households a forecaster was trained on? By its loss, and by its likelihood ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from unlearn.attacks import Outcome, likelihood_ratio_scores, measure_attack
from unlearn.checks import FloatArray
from unlearn.dp.noise import Noise, noise_source
from unlearn.forecasters.household import UNIT_KWH, HourlyLinear, HouseholdForecaster
from unlearn.forecasters.private_head import ClippedSums
from unlearn.forecasters.private_household import linear_rows
from unlearn.households.day_ahead import DayAheadPanel


def loss_attack(
    forecaster: HouseholdForecaster, train: DayAheadPanel, holdout: DayAheadPanel, fprs: Sequence[float], seed: int
) -> Outcome:
    """Score households by minus their mean squared error (Yeom et al. 2018).

    Args:
        forecaster: the model attacked.
        train: rows of the households it was trained on.
        holdout: rows of other households, on the same days.
        fprs: false positive rates.
        seed: of the intervals.

    Raises:
        InputError: too few households for a false positive rate.
    """
    scores = [-_mean_by_household(forecaster.losses(panel), panel) for panel in (train, holdout)]
    return measure_attack(*scores, unit="household", fprs=fprs, seed=seed)


def likelihood_attack(
    forecaster: HouseholdForecaster,
    train: DayAheadPanel,
    holdout: DayAheadPanel,
    *,
    clip: float,
    noise_multiplier: float,
    ridge: float,
    shadows: int,
    fprs: Sequence[float],
    seed: int,
    noise: Noise = "os",
) -> Outcome:
    """Attack a linear forecaster by likelihood ratios, with shadow heads fitted as it was on random households.

    A head needs only sums over households, so that hundreds of shadow heads cost what one costs.

    Args:
        forecaster: a linear one.
        train: rows of the households it was trained on.
        holdout: rows of other households, on the same days.
        clip: norm that rows were clipped to; infinity where they were not.
        noise_multiplier: of its release; 0 where it is not private.
        ridge: of its release.
        shadows: shadow heads.
        fprs: false positive rates.
        seed: of the shadow heads' households, and of intervals.
        noise: of shadow heads, see `fit_private_household_forecaster`.

    Raises:
        InputError: too few households for a false positive rate, or too few shadow heads.
    """
    clipped, plain = (np.concatenate([_moments(panel, c) for panel in (train, holdout)]) for c in (clip, np.inf))
    n_train, n = len(train.members), len(clipped)
    random, source = np.random.default_rng(seed), noise_source(noise, train, holdout)
    # Of the size of the attacked one's training set; each household is in some of them and not in others.
    member = random.random((shadows, n)).argsort(axis=1).argsort(axis=1) < n_train
    heads = np.empty((shadows, clipped.shape[1] - 1))
    for k, inside in enumerate(member):
        moments = torch.from_numpy(clipped[inside].sum(axis=0))
        sums = ClippedSums(moments, clipped.shape[1] - 1, clip, n_train)
        heads[k] = sums.release(noise_multiplier, source, ridge)[0].numpy()
    observed = _losses(plain, _head(forecaster)[None])[0]
    scores = likelihood_ratio_scores(observed, _losses(plain, heads), member)
    return measure_attack(scores[:n_train], scores[n_train:], unit="household", fprs=fprs, seed=seed)


def _head(forecaster: HouseholdForecaster) -> FloatArray:
    assert isinstance(forecaster.network, HourlyLinear)
    return forecaster.network.head.numpy()


def _moments(panel: DayAheadPanel, clip: float) -> FloatArray:
    """Mean over a household's rows [φ, y] of their outer products, shape (households, D + 1, D + 1)."""
    design, target, unit = linear_rows(panel)
    order = np.argsort(unit, kind="stable")
    counts = np.unique(unit, return_counts=True)[1]
    parts = zip(design[order].split(counts.tolist()), target[order].split(counts.tolist()), strict=True)
    return np.stack([ClippedSums.of(x, y, np.zeros(len(x), int), clip).moments.numpy() for x, y in parts])


def _losses(moments: FloatArray, heads: FloatArray) -> FloatArray:
    """Mean squared error in kWh² of each household under each head, shape (heads, households)."""
    extended = np.concatenate([heads, -np.ones((len(heads), 1))], axis=1)
    return np.einsum("ki,hij,kj->kh", extended, moments, extended, optimize=True) * UNIT_KWH**2


def _mean_by_household(losses: FloatArray, panel: DayAheadPanel) -> FloatArray:
    place = np.unique(panel.household, return_inverse=True)[1].reshape(-1)
    return np.bincount(place, weights=losses) / np.bincount(place)
