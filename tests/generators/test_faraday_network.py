"""Faraday's network: quantiles that do not cross, losses with known minima, training that is reproducible."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unlearn.errors import ConvergenceError, InputError
from unlearn.generators.faraday import LossWeights, ProfileVae, VaeOptions
from unlearn.generators.faraday.scaling import EnergyScaler
from unlearn.generators.faraday.vae import (
    LEVELS,
    ScaledProfiles,
    expected,
    kl_divergence,
    mmd,
    pinball,
    profile_losses,
    train_vae,
)

TAU = torch.tensor(LEVELS, dtype=torch.float64)


def network(seed: int = 0, **sizes: int) -> ProfileVae:
    torch.manual_seed(seed)
    return ProfileVae(**{"n_steps": 24, "n_labels": 3, "latent": 4, "hidden": 16, **sizes})


@given(st.integers(0, 1000), st.floats(0.1, 30))
def test_quantiles_never_cross(seed: int, spread: float) -> None:
    vae = network(seed)
    random = torch.Generator().manual_seed(seed)
    quantiles = vae.quantiles(spread * torch.randn((5, 4), generator=random), torch.eye(3)[[0, 1, 2, 0, 1]])
    assert quantiles.shape == (5, 24, len(LEVELS))
    assert (quantiles.diff(dim=-1) >= 0).all()


@given(st.integers(0, 1000))
def test_scores_and_values_are_inverse_within_and_beyond_the_levels(seed: int) -> None:
    vae = network(seed)
    random = torch.Generator().manual_seed(seed)
    quantiles = vae.quantiles(torch.randn((6, 4), generator=random), torch.eye(3)[[0, 1, 2, 0, 1, 2]])
    score = 2 * torch.randn((6, 24), generator=random)
    again = vae.score_of(quantiles, vae.value_at(quantiles, score))
    torch.testing.assert_close(again, score, atol=2e-3, rtol=1e-3)
    at_levels = vae.value_at(quantiles, vae.scores[3].expand(6, 24))
    torch.testing.assert_close(at_levels, quantiles[..., 3], atol=1e-5, rtol=1e-5)


def test_the_pinball_loss_is_least_at_the_quantiles() -> None:
    x = torch.from_numpy(np.random.default_rng(0).gamma(1.0, 1.0, (4000, 1)))
    best = torch.quantile(x[:, 0], TAU).expand(4000, 1, -1)
    loss = pinball(best, x, TAU).mean()
    for level in range(len(LEVELS)):
        for shift in (-0.5, 0.5):
            moved = best.clone()
            moved[..., level] += shift
            assert pinball(moved, x, TAU).mean() > loss


def test_below_the_censoring_point_quantiles_are_free() -> None:
    x = torch.zeros((3, 24))
    vae = network()
    losses, _ = profile_losses(
        vae, x, torch.eye(3), torch.zeros((3, 4)), LossWeights(reconstruction=0, divergence=0), zero=100.0
    )
    # Every quantile lies below the point and counts as 100, for which x = 0 is what the pinball loss sees.
    expected_loss = 2 * ((1 - torch.tensor(LEVELS)) * 100).sum()
    torch.testing.assert_close(losses, expected_loss.expand(3))


def test_the_divergence_is_that_of_gaussians() -> None:
    mean, log_variance = torch.randn((5, 3), dtype=torch.float64), torch.randn((5, 3), dtype=torch.float64)
    oracle = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(dim=1)
    torch.testing.assert_close(kl_divergence(mean, log_variance), oracle)


def test_the_discrepancy_equals_its_definition_and_tells_samples_apart() -> None:
    random = torch.Generator().manual_seed(0)
    z, prior = (torch.randn((40, 3), generator=random, dtype=torch.float64) for _ in range(2))

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        scales = [2.0 * 3 * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        return sum(s / (s + float((a - b).square().sum())) for s in scales)

    pairs = [(i, j) for i in range(40) for j in range(40)]
    oracle = sum(kernel(z[i], z[j]) + kernel(prior[i], prior[j]) for i, j in pairs if i != j) / (40 * 39)
    oracle -= 2 * sum(kernel(z[i], prior[j]) for i, j in pairs) / 1600
    assert float(mmd(z, prior)) == pytest.approx(oracle, rel=1e-10)
    # Under equality the estimate is unbiased: its mean over draws is within 4 standard errors of 0 (p < 1e-4).
    draws = [
        float(mmd(*(torch.randn((60, 3), generator=random, dtype=torch.float64) for _ in range(2)))) for _ in range(60)
    ]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(60)
    assert float(mmd(z + 1, prior)) > 4 * max(draws)


def test_the_expected_value_of_quantiles_is_the_mean() -> None:
    quantiles = torch.from_numpy(stats.norm.ppf(LEVELS, 3.0, 2.0))[None, None]
    assert float(expected(quantiles, TAU)) == pytest.approx(3.0, abs=0.05)


def test_a_profile_has_its_own_loss_whatever_its_batch() -> None:
    """So that a household's gradient can be clipped alone."""
    vae = network()
    random = torch.Generator().manual_seed(0)
    x, noise = torch.randn((8, 24), generator=random), torch.randn((8, 4), generator=random)
    labels = torch.eye(3)[torch.arange(8) % 3]
    together, _ = profile_losses(vae, x, labels, noise, LossWeights(), -1.0)
    alone = torch.cat(
        [profile_losses(vae, *(t[i : i + 1] for t in (x, labels, noise)), LossWeights(), -1.0)[0] for i in range(8)]
    )
    torch.testing.assert_close(together, alone)


@given(st.integers(0, 2**31))
def test_scaling_gives_energy_back(seed: int) -> None:
    kwh = np.random.default_rng(seed).gamma(0.5, 0.4, (20, 48)).astype(np.float32)
    scaler = EnergyScaler.fit(kwh)
    x = scaler.scale(kwh)
    assert float(x.mean()) == pytest.approx(0, abs=1e-4)
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(scaler.unscale(x), kwh, rtol=1e-4, atol=1e-6)
    assert (scaler.unscale(x - 50) == 0).all()
    assert float(scaler.scale(np.zeros((1, 48), np.float32))[0, 0]) == pytest.approx(scaler.zero)


def test_profiles_that_do_not_vary_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected profiles that vary, got 0\.5 kWh"):
        EnergyScaler.fit(np.full((5, 48), 0.5, np.float32))


def learnable(n: int = 300) -> ScaledProfiles:
    random = torch.Generator().manual_seed(1)
    labels = torch.eye(3)[torch.randint(3, (n,), generator=random)]
    level = torch.randn((n, 1), generator=random)
    x = level + labels @ torch.randn((3, 24), generator=random) + 0.1 * torch.randn((n, 24), generator=random)
    return ScaledProfiles(x, labels)


@pytest.mark.parametrize("kind", ["kl", "mmd"])
def test_training_learns_stops_and_repeats(kind: str) -> None:
    options = VaeOptions(epochs=15, batch_size=64, learning_rate=5e-3, loss=LossWeights(kind=kind, divergence=0.01))
    data = learnable()
    watched = ScaledProfiles(data.x[:60], data.labels[:60])
    first, second = network(hidden=32), network(hidden=32)
    history = train_vae(first, data, watched, -9.0, options, seed=3)
    assert history["validation"][history["best_epoch"]] == min(history["validation"])
    assert min(history["validation"]) < 0.5 * history["validation"][0]
    assert train_vae(second, data, watched, -9.0, options, seed=3) == history
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_stops_early_and_keeps_the_best_state() -> None:
    data = learnable()
    # What is watched has nothing to do with what is learnt, so its loss soon rises.
    watched = ScaledProfiles(-data.x, data.labels.roll(1, dims=1))
    options = VaeOptions(epochs=60, batch_size=64, patience=2, learning_rate=5e-3)
    vae = network(hidden=32)
    history = train_vae(vae, data, watched, -9.0, options, seed=0)
    assert history["stopped_early"]
    assert len(history["train"]) == history["best_epoch"] + 1 + options.patience


def test_divergence_is_told_with_a_remedy() -> None:
    with pytest.raises(ConvergenceError, match=r"Lower vae\.learning_rate \(1e\+30\)"):
        train_vae(network(), learnable(), learnable(60), -9.0, VaeOptions(epochs=5, learning_rate=1e30), seed=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VaeOptions(latent=0), "vae.latent"),
        (lambda: VaeOptions(hidden=1.5), "whole number"),
        (lambda: VaeOptions(learning_rate=-1), "vae.learning_rate"),
        (lambda: VaeOptions(validation=1.0), "vae.validation"),
        (lambda: LossWeights(kind="gan"), "expected one of kl, mmd"),
        (lambda: LossWeights(quantile=-1), "loss.quantile"),
        (lambda: LossWeights(reconstruction=0, quantile=0), "nothing is reconstructed"),
    ],
)
def test_bad_settings_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
