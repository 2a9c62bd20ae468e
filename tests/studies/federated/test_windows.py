"""Rows of the measurement, and that a prior is that of its public rows."""

import numpy as np
import pytest

from tests.attacks.test_gradient_inversion import SHAPE, loads
from unlearn.attacks import InversionOptions, Prior, UpdateRule, prior_of
from unlearn.errors import InputError
from unlearn.studies.federated.windows import WINDOW_FORECASTERS, InversionSetting, measure_inversion

QUICK = InversionOptions(steps=10, restarts=2, polished=1, loosening=(1e-3,), iterations=30, newton=3)

#: A window of one member.
ONE = {"single_1": InversionSetting(1)}


def members(n: int = 4, n_rows: int = 3) -> tuple[np.ndarray, np.ndarray]:
    windows, targets = loads(n * n_rows)
    return windows.reshape(n, n_rows, 6, 3), targets.reshape(n, n_rows, 6)


def test_one_row_is_found_and_noise_hides_it() -> None:
    noisy = {f"noise_{n:g}": InversionSetting(1, UpdateRule(clip=1.0, noise_multiplier=n)) for n in (0.01, 1.0)}
    found = measure_inversion(*members(), *loads(60, 1), {**ONE, **noisy}, options=QUICK, n_trials=2, trained_steps=3)
    assert [row["setting"] for row in found] == ["single_1"] * 2 + ["noise_0.01"] * 2 + ["noise_1"] * 2
    better = np.array([row["better"] for row in found], dtype=float).reshape(3, 2).mean(axis=1)
    assert better[0] > 1 - 1e-8
    assert better[0] > better[1] > better[2]
    assert better[2] < 0.3
    # The same members and rows in each setting of a trial.
    assert found[0]["guess_error"] == found[2]["guess_error"] == found[4]["guess_error"]


@pytest.mark.parametrize("model", sorted(WINDOW_FORECASTERS))
def test_all_small_forecasters_can_be_attacked(model: str) -> None:
    rule = UpdateRule(members=2, learning_rate=0.1, epochs=2)
    (row,) = measure_inversion(
        *members(), *loads(60, 1), {"mine": InversionSetting(1, rule)}, model, options=QUICK, n_trials=1
    )
    assert (row["setting"], row["model"], row["members"], row["epochs"]) == ("mine", model, 2, 2)
    assert np.isfinite([row[name] for name in ("error", "target_error", "guess_error", "objective")]).all()  # type: ignore[arg-type]


def test_the_same_seed_measures_the_same() -> None:
    def measured(seed: int) -> list[object]:
        found = measure_inversion(*members(), *loads(60, 1), ONE, n_trials=1, seed=seed)
        return [row["guess_error"] for row in found]

    assert measured(0) == measured(0) != measured(1)


def test_the_prior_is_that_of_public_rows() -> None:
    public = loads(5000)
    prior = prior_of(*public, SHAPE, (0.1, 0.9))
    rows = np.concatenate([public[0].reshape(5000, -1), public[1]], axis=1)
    covariance = np.cov(rows, rowvar=False)
    made = prior.factor @ prior.factor.T
    np.testing.assert_allclose(np.diag(made), np.diag(covariance), rtol=1e-4)
    np.testing.assert_allclose(made[0, 1], 0.9 * covariance[0, 1])
    inside = (rows >= prior.low) & (rows <= prior.high)
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=1e-3)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((np.zeros(()), np.eye(2), np.zeros(2), np.ones(2)), "mean"),
        ((np.zeros(2), np.ones((2, 2)), np.zeros(2), np.ones(2)), "triangular"),
        ((np.zeros(2), np.eye(3), np.zeros(2), np.ones(2)), "factor"),
        ((np.zeros(2), np.eye(2), np.ones(2), np.zeros(2)), "low"),
        ((np.zeros(2), np.eye(2), np.zeros(3), np.ones(2)), "low"),
    ],
)
def test_priors_that_do_not_fit_are_refused(parts: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Prior(*parts)


def test_what_does_not_fit_is_refused() -> None:
    windows, targets = members()
    public = loads(60, 1)
    for given, message in (
        ((windows[0], targets[0], *public), "windows, targets"),
        ((windows, targets[:2], *public), "windows, targets"),
        ((windows, targets, public[0][:, :5], public[1]), "public"),
        ((windows, targets, public[0][:5], public[1][:5]), "at least 8 rows"),
        ((windows * np.nan, targets, *public), "members"),
    ):
        with pytest.raises(InputError, match=message):
            measure_inversion(*given, ONE)  # type: ignore[arg-type]
    five = InversionSetting(1, UpdateRule(members=5))
    for setting, message in ((five, "at least 5 members"), (InversionSetting(4), "4 rows")):
        with pytest.raises(InputError, match=message):
            measure_inversion(windows, targets, *public, {"mine": setting})
    with pytest.raises(InputError, match="model"):
        measure_inversion(windows, targets, *public, ONE, "tree")
    with pytest.raises(InputError, match="quantiles"):
        prior_of(*public, SHAPE, (0.9, 0.1))
    with pytest.raises(InputError, match="setting"):
        InversionSetting(0)
