"""Membership attacks: neighbours against SciPy, densities against a closed form, copies found and strangers not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import gaussian_kde

from unlearn.attacks import ATTACKS, household_scores, measure_attack, membership_scores, nearest_records
from unlearn.attacks.membership import log_kernel_sum
from unlearn.errors import InputError


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 60))
def test_nearest_records_are_those_of_scipy(seed: int, m: int, n: int) -> None:
    random = np.random.default_rng(seed)
    queries, records = random.gamma(1.0, 0.2, (m, 24)), random.gamma(1.0, 0.2, (n, 24))
    found = nearest_records(queries, records)
    np.testing.assert_allclose(found.distance, cdist(queries, records).min(axis=1), rtol=1e-10)
    np.testing.assert_array_equal(found.row, cdist(queries, records).argmin(axis=1))


def test_blocks_do_not_change_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    queries, records = random.normal(size=(50, 24)), random.normal(size=(30, 24))
    whole = nearest_records(queries, records)
    monkeypatch.setattr("unlearn.attacks.membership._BLOCK", 70)
    np.testing.assert_array_equal(nearest_records(queries, records).distance, whole.distance)


def test_copies_are_at_distance_zero() -> None:
    records = np.random.default_rng(0).gamma(1.0, 5.0, (200, 48)).astype(np.float32)
    found = nearest_records(records[::-1], records)
    assert (found.distance == 0).all()
    np.testing.assert_array_equal(found.row, np.arange(200)[::-1])


def test_kernel_sums_are_scipys_densities() -> None:
    random = np.random.default_rng(1)
    kernels, points = random.normal(size=(300, 3)), random.normal(size=(40, 3))
    own = gaussian_kde(kernels.T, bw_method=0.5)
    width = np.linalg.cholesky(own.covariance)
    found = log_kernel_sum(np.linalg.solve(width, points.T).T, np.linalg.solve(width, kernels.T).T)
    constant = found - own.logpdf(points.T)
    np.testing.assert_allclose(constant, constant[0], rtol=1e-9)
    # Far from every kernel, where densities underflow, logarithms do not.
    assert np.isfinite(log_kernel_sum(np.full((1, 3), 1e3), kernels)).all()


def days(n: int, mean: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(4.0, mean / 4, (n, 24))


@pytest.mark.parametrize("kind", sorted(set(ATTACKS) - {"distance"}))
def test_attacks_with_a_reference_find_what_a_shifted_release_was_learnt_from(kind: str) -> None:
    # The release and its members come from one distribution, reference and others from another.
    release, members, others, reference = days(400, 0.5, 0), days(150, 0.5, 1), days(150, 0.4, 2), days(400, 0.4, 3)
    scores = membership_scores(kind, release, np.concatenate([members, others]), reference)
    assert measure_attack(scores[:150], scores[150:], unit="row", fprs=()).auc.low > 0.6


@pytest.mark.parametrize("kind", sorted(ATTACKS))
def test_no_attack_finds_what_is_not_there(kind: str) -> None:
    aucs = []
    for seed in range(3 if kind == "discriminator" else 6):
        release, attacked, reference = (days(n, 0.5, 10 * seed + i) for i, n in enumerate((300, 300, 300)))
        scores = membership_scores(kind, release, attacked, reference, seed)
        aucs.append(measure_attack(scores[:150], scores[150:], unit="row", fprs=()).auc.value)
    # An AUC of 150 against 150 has a standard error of 0.033, the mean of three of 0.019.
    assert abs(np.mean(aucs) - 0.5) < 0.05


@pytest.mark.parametrize("kind", ["distance", "relative_distance"])
def test_copies_are_found_for_certain(kind: str) -> None:
    members, others, reference = days(100, 0.5, 0), days(100, 0.5, 1), days(100, 0.5, 2)
    release = members[np.random.default_rng(0).permutation(np.repeat(np.arange(100), 2))]
    scores = membership_scores(kind, release, np.concatenate([members, others]), reference)
    assert measure_attack(scores[:100], scores[100:], unit="row", fprs=()).auc.value == 1.0


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.34, 0.5, 1.0]))
def test_households_have_the_mean_of_their_highest_scores(seed: int, top: float) -> None:
    random = np.random.default_rng(seed)
    scores, who = random.normal(size=60), random.integers(0, 9, 60)
    found, names = household_scores(scores, who, top)
    for name, value in zip(names, found, strict=True):
        own = np.sort(scores[who == name])[::-1]
        assert value == pytest.approx(own[: max(1, int(np.ceil(top * len(own) - 1e-9)))].mean())
    np.testing.assert_array_equal(names, np.unique(who))


def test_what_cannot_be_attacked_is_refused() -> None:
    good = days(10, 0.5, 0)
    with pytest.raises(InputError, match=r"attack: expected one of .*; got 'magic'"):
        membership_scores("magic", good, good, good)
    with pytest.raises(InputError, match="reference: expected at least 2 profiles, got 1"):
        membership_scores("distance", good, good, good[:1])
    with pytest.raises(InputError, match="synthetic: expected shape"):
        membership_scores("distance", good[:, :12], good, good)
    with pytest.raises(InputError, match="attacked: expected finite"):
        membership_scores("distance", good, np.full((2, 24), np.nan), good)
    with pytest.raises(InputError, match="records: expected at least one profile"):
        nearest_records(good, good[:0])
    with pytest.raises(InputError, match="top: expected a share"):
        household_scores([1.0], [0], top=0)
    with pytest.raises(InputError, match="household: expected shape"):
        household_scores([1.0, 2.0], [0])
