"""Forecasters of households, without privacy and with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unlearn.dp import SimulatedNoise
from unlearn.errors import InputError
from unlearn.forecasters import TrainingOptions
from unlearn.forecasters.household import (
    UNIT_KWH,
    HourlyLinear,
    HouseholdForecaster,
    _DaysOfHouseholds,
    fit_household_forecaster,
    fit_private_household_forecaster,
    hourly_design,
    household_mean,
    linear_sums,
    scaled_features,
)
from unlearn.forecasters.specs import PrivateForecastOptions
from unlearn.households import simulate_households, split_households
from unlearn.households.injection import FEATURES, DayAheadPanel, day_ahead_panel


@pytest.fixture(scope="module")
def panels() -> tuple[DayAheadPanel, DayAheadPanel]:
    train, holdout = split_households(simulate_households(40, n_days=30, random_state=1), 0.5, 0)
    return day_ahead_panel(train), day_ahead_panel(holdout)


def test_the_mean_forecasts_the_mean_of_the_week(panels: tuple[DayAheadPanel, DayAheadPanel]) -> None:
    panel = panels[0]
    wanted = panel.features[..., FEATURES.index("hour_mean_kwh")]
    assert household_mean().forecast(panel.features) == pytest.approx(wanted, abs=1e-12)


def test_linear_is_least_squares_with_equal_households(panels: tuple[DayAheadPanel, DayAheadPanel]) -> None:
    panel = panels[0]
    uneven = panel.take(np.flatnonzero((panel.household > 3) | (np.arange(len(panel)) % 3 == 0)))
    forecaster = fit_household_forecaster(uneven)
    assert isinstance(forecaster.network, HourlyLinear)
    unprotected = linear_sums(uneven, np.inf).release(0.0)[0]
    assert forecaster.network.head.numpy() == pytest.approx(unprotected.numpy(), rel=1e-7)
    assert forecaster.losses(uneven).mean() < household_mean().losses(uneven).mean()


def test_the_design_has_a_second_wave_and_an_intercept(panels: tuple[DayAheadPanel, DayAheadPanel]) -> None:
    design = hourly_design(scaled_features(panels[0].features[:2])).numpy()
    angle = 4 * np.pi * np.arange(24) / 24
    assert design[0, :, -3:] == pytest.approx(np.stack([np.sin(angle), np.cos(angle), np.ones(24)], axis=1))
    energy = FEATURES.index("level_kwh")
    assert design[..., energy] == pytest.approx(panels[0].features[:2, :, energy] / UNIT_KWH)


@pytest.mark.parametrize("kind", ["cnn", "mixer"])
def test_networks_learn_more_than_nothing(kind: str, panels: tuple[DayAheadPanel, DayAheadPanel]) -> None:
    # Where each day repeats the one before, there is something to learn from few households.
    day_before = FEATURES.index("day_before_kwh")
    repeated, unseen = (replace(panel, kwh=panel.features[..., day_before]) for panel in panels)
    fitted = fit_household_forecaster(repeated, kind, TrainingOptions(epochs=6, learning_rate=1e-3), seed=1)
    assert fitted.losses(unseen).mean() < 0.97 * household_mean().losses(unseen).mean()
    few = panels[0].take(panels[0].household < 4)
    first, second = (fit_household_forecaster(few, kind, TrainingOptions(epochs=1), seed=1) for _ in range(2))
    assert (first.forecast(few.features) == second.forecast(few.features)).all()


def test_unusable_input_is_refused(panels: tuple[DayAheadPanel, DayAheadPanel]) -> None:
    with pytest.raises(InputError, match="forecaster: expected one of linear, cnn, mixer"):
        fit_household_forecaster(panels[0], "boosting")
    with pytest.raises(InputError, match="features: expected shape"):
        household_mean().forecast(np.zeros((2, 24, 3)))
    alone = panels[0].take(panels[0].household == 0)
    with pytest.raises(InputError, match="at least 2 households"):
        fit_household_forecaster(alone, "cnn")
    for name in ("row_clip", "clip", "sampling_rate", "learning_rate"):
        with pytest.raises(InputError, match=f"forecast.{name}: expected a number above 0"):
            PrivateForecastOptions(**{name: 0.0})


def test_days_are_drawn_from_their_own_household(panels: tuple[DayAheadPanel, DayAheadPanel]) -> None:
    panel = panels[0].take(np.random.default_rng(0).permutation(len(panels[0]))[:200])
    units = torch.tensor([0, 3, 7])
    rows, position = _DaysOfHouseholds(panel).draw(units, 50, torch.Generator().manual_seed(0))
    assert (panel.household[rows.numpy()] == panel.members[units.numpy()][position.numpy()]).all()
    for k, unit in enumerate(panel.members[units.numpy()]):
        assert len(np.unique(rows[position == k])) > 0.8 * (panel.household == unit).sum()


def test_a_sampling_rate_above_one_is_refused() -> None:
    with pytest.raises(InputError, match="sampling_rate: expected at most 1"):
        PrivateForecastOptions(sampling_rate=1.5)


@pytest.mark.extras
@pytest.mark.parametrize("kind", ["linear", "cnn", "mixer"])
def test_private_forecasters_say_what_they_spent(kind: str, panels: tuple[DayAheadPanel, DayAheadPanel]) -> None:
    options = PrivateForecastOptions(steps=3, days=2, sampling_rate=0.5)
    fitted = fit_private_household_forecaster(panels[0], kind, 2.0, 1e-3, options)
    private = fitted.card["private"]
    low, _, high = private["epsilon_prv"]
    assert low <= private["epsilon"] <= min(2.0 + 1e-3, high)
    assert private["epsilon"] <= private["epsilon_rdp"]
    assert (private["unit"], private["n_units"], private["not_covered"]) == ("household", 20, [])
    assert private["noise"] == "os"
    said = " ".join(private["caveats"])
    assert ("drawn exactly" in said, "not for floats" in said) == (kind == "linear", kind != "linear")
    assert "protects nobody" not in said
    assert not {"n_rows", "seed", "fingerprint"} & {*fitted.card, *private, *private["options"]}
    assert np.isfinite(fitted.forecast(panels[1].features)).all()
    again = fit_private_household_forecaster(panels[0], kind, 2.0, 1e-3, options)
    assert not np.allclose(fitted.forecast(panels[1].features), again.forecast(panels[1].features), rtol=1e-9)


@pytest.mark.extras
@pytest.mark.parametrize("kind", ["linear", "cnn"])
def test_noise_repeats_for_simulated_households_alone_and_its_card_says_so(
    kind: str, panels: tuple[DayAheadPanel, DayAheadPanel]
) -> None:
    options = PrivateForecastOptions(steps=3, days=2, sampling_rate=0.5)

    def fit(panel: DayAheadPanel, seed: int) -> HouseholdForecaster:
        return fit_private_household_forecaster(panel, kind, 2.0, 1e-3, options, noise=SimulatedNoise(seed))

    first, again, other = (fit(panels[0], seed).forecast(panels[1].features[:2]) for seed in (3, 3, 4))
    assert (first == again).all()
    assert not np.allclose(first, other, rtol=1e-9)
    private = fit(panels[0], 3).card["private"]
    assert private["noise"] == "simulated"
    assert "protects nobody" in private["caveats"][0]
    real = replace(panels[0], kwh=panels[0].kwh.copy())
    with pytest.raises(InputError, match='expected "os" for simulated households train, got a seed'):
        fit(real, 3)


@pytest.mark.extras
def test_guarantees_that_are_none_are_refused(panels: tuple[DayAheadPanel, DayAheadPanel]) -> None:
    with pytest.raises(InputError, match="epsilon"):
        fit_private_household_forecaster(panels[0], "linear", 0.0, 1e-3)
    with pytest.raises(InputError, match=r"delta: expected less than 1/N = 0.05"):
        fit_private_household_forecaster(panels[0], "linear", 1.0, 0.05)
