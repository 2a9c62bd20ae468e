"""The labelled mixture: densities against SciPy, EM against closed forms and scikit-learn, samples against moments."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.mixture import GaussianMixture

from unlearn.errors import ConvergenceError, InputError
from unlearn.generators.faraday import LabelledMixture, MixtureOptions, fit_mixture

SIZES = (12, 7, 2)


def known(seed: int = 0, n_components: int = 3, n_latent: int = 2) -> LabelledMixture:
    random = np.random.default_rng(seed)
    factors = np.tril(random.normal(0, 0.3, (n_components, n_latent, n_latent)))
    factors[:, range(n_latent), range(n_latent)] = random.uniform(0.4, 1.0, (n_components, n_latent))
    return LabelledMixture(
        random.dirichlet(np.full(n_components, 5.0)),
        random.normal(0, 4, (n_components, n_latent)),
        factors,
        tuple(random.dirichlet(np.full(size, 1.0), n_components) for size in SIZES),
    )


def streamed(z: np.ndarray, labels: np.ndarray, size: int):
    def stream() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(z), size):
            yield z[start : start + size], labels[start : start + size]

    return stream


@given(st.integers(0, 10_000))
def test_densities_are_those_of_scipy(seed: int) -> None:
    mixture = known(seed)
    z, labels = mixture.sample(20, np.random.default_rng(seed))
    joint = mixture.log_joint(z, labels)
    for k in range(3):
        covariance = mixture.factors[k] @ mixture.factors[k].T
        oracle = np.log(mixture.weights[k]) + stats.multivariate_normal(mixture.means[k], covariance).logpdf(z)
        oracle += sum(np.log(table[k, labels[:, i]]) for i, table in enumerate(mixture.labels))
        np.testing.assert_allclose(joint[:, k], oracle, rtol=1e-9, atol=1e-9)
    given_labels = mixture.component_of(labels)
    oracle = mixture.weights * np.prod([t[:, labels[:, i]] for i, t in enumerate(mixture.labels)], axis=0).T
    np.testing.assert_allclose(given_labels, oracle / oracle.sum(axis=1, keepdims=True), rtol=1e-9)


def test_samples_have_the_mixtures_moments_and_labels() -> None:
    """Each statistic within 5 standard errors: p < 1e-6 for each of about 30."""
    mixture, n = known(1), 40_000
    z, labels = mixture.sample(n, np.random.default_rng(5))
    assert z.shape == (n, 2)
    mean = mixture.weights @ mixture.means
    assert (np.abs(z.mean(axis=0) - mean) < 5 * z.std(axis=0) / np.sqrt(n)).all()
    for column, table in enumerate(mixture.labels):
        share = mixture.weights @ table
        found = np.bincount(labels[:, column], minlength=len(share)) / n
        assert (np.abs(found - share) < 5 * np.sqrt(share * (1 - share) / n) + 1e-9).all()


def test_latents_given_labels_are_those_that_go_with_them() -> None:
    mixture, n = known(2), 60_000
    random = np.random.default_rng(0)
    z, labels = mixture.sample(n, random)
    wanted = np.tile([4, 2, 1], (5000, 1))
    drawn = mixture.sample_given(wanted, random)
    rejected = z[(labels == wanted[0]).all(axis=1)]  # rejection sampling: the oracle
    assert len(rejected) > 200
    for axis in range(2):
        assert stats.ks_2samp(drawn[:, axis], rejected[:, axis]).pvalue > 1e-4


def test_one_component_is_the_closed_form() -> None:
    random = np.random.default_rng(0)
    z = random.normal(2.0, 1.5, (500, 3)) @ random.normal(0, 1, (3, 3))
    labels = np.stack([random.integers(size, size=500) for size in SIZES], axis=1)
    mixture, history = fit_mixture(streamed(z, labels, 100), SIZES, MixtureOptions(n_components=1, tol=1e-12), seed=0)
    np.testing.assert_allclose(mixture.means[0], z.mean(axis=0), rtol=1e-10)
    # The prior's covariance is the one within clusters, here the same one.
    np.testing.assert_allclose(mixture.factors[0] @ mixture.factors[0].T, np.cov(z.T, bias=True), rtol=1e-4)
    np.testing.assert_allclose(mixture.labels[1][0] * 500, np.bincount(labels[:, 1], minlength=7), atol=0.2)
    assert history["converged"]


@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0.5, 40))
def test_the_log_posterior_never_falls(seed: int, components: int, prior_rows: float) -> None:
    z, labels = known(seed).sample(300, np.random.default_rng(seed))
    options = MixtureOptions(n_components=components, tol=1e-9, max_iter=25, prior_rows=prior_rows)
    _, history = fit_mixture(streamed(z, labels, 77), SIZES, options, seed)
    assert (np.diff(history["log_posterior"]) > -1e-9).all()


def test_chunks_do_not_matter() -> None:
    z, labels = known(3).sample(900, np.random.default_rng(3))
    options = MixtureOptions(n_components=1, tol=1e-9)
    fits = [fit_mixture(streamed(z, labels, size), SIZES, options, 0)[0] for size in (900, 50, 7)]
    for other in fits[1:]:
        np.testing.assert_allclose(other.factors, fits[0].factors, rtol=1e-9)


def test_known_components_are_found_as_well_as_scikit_learn_finds_them() -> None:
    truth = LabelledMixture(
        np.array([0.5, 0.3, 0.2]),
        np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]]),
        np.stack([np.eye(2), 0.5 * np.eye(2), np.array([[1.0, 0.0], [0.5, 0.5]])]),
        tuple(np.full((3, size), 1 / size) for size in SIZES),
    )
    z, labels = truth.sample(3000, np.random.default_rng(0))
    options = MixtureOptions(n_components=3, tol=1e-7, prior_rows=0.1)
    mixture, _ = fit_mixture(streamed(z, labels, 500), SIZES, options, seed=0)
    order = [int(np.linalg.norm(mixture.means - mean, axis=1).argmin()) for mean in truth.means]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(mixture.weights[order], truth.weights, atol=0.03)
    np.testing.assert_allclose(mixture.means[order], truth.means, atol=0.15)
    oracle = GaussianMixture(3, random_state=0, tol=1e-7).fit(z)
    densities = mixture.log_joint(z, labels) - sum(np.log(t).T[labels[:, i]] for i, t in enumerate(mixture.labels))
    mine = np.log(np.exp(densities).sum(axis=1)).mean()
    assert mine == pytest.approx(oracle.score(z), abs=2e-3)


def test_only_a_chunk_is_asked_for_at_a_time() -> None:
    """The stream is consumed chunk by chunk: nothing holds on to earlier ones."""
    import weakref

    z, labels = known(4).sample(4000, np.random.default_rng(4))
    alive: list[weakref.ref] = []
    most = 0

    class Chunk(np.ndarray):
        pass

    def stream() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal most
        for start in range(0, 4000, 100):
            chunk = z[start : start + 100].copy().view(Chunk)
            alive.append(weakref.ref(chunk))
            most = max(most, sum(ref() is not None for ref in alive))
            yield chunk, labels[start : start + 100]

    fit_mixture(stream, SIZES, MixtureOptions(n_components=3, max_iter=3, tol=1e-9), seed=0)
    assert len(alive) >= 40 * 5
    assert most <= 3


def test_a_fit_that_has_not_converged_says_so(caplog: pytest.LogCaptureFixture) -> None:
    z, labels = known(5).sample(500, np.random.default_rng(5))
    with caplog.at_level(logging.WARNING):
        _, history = fit_mixture(
            streamed(z, labels, 100), SIZES, MixtureOptions(n_components=4, max_iter=2, tol=1e-9), 0
        )
    assert not history["converged"]
    assert "not converged to 1e-09 after 2 passes" in caplog.text


def test_too_few_rows_and_bad_latents_are_refused() -> None:
    z, labels = known(6).sample(20, np.random.default_rng(6))
    with pytest.raises(InputError, match=r"expected at most as many as training profiles \(20\), got 30"):
        fit_mixture(streamed(z, labels, 5), SIZES, MixtureOptions(n_components=30), 0)
    z[3, 1] = np.nan
    with pytest.raises(ConvergenceError, match="latents are not finite"):
        fit_mixture(streamed(z, labels, 5), SIZES, MixtureOptions(n_components=3), 0)
    with pytest.raises(InputError, match=r"mixture\.tol"):
        MixtureOptions(tol=0)
