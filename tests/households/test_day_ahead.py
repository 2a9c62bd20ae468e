"""Day-ahead rows of households against a plain loop over days."""

from dataclasses import replace

import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.households import simulate_households
from unlearn.households.injection import FEATURES, HISTORY, day_ahead_panel


def test_rows_are_the_days_whose_week_before_is_complete() -> None:
    random = np.random.default_rng(0)
    everything = simulate_households(4, n_days=30, random_state=1)
    kept = everything.take(random.permutation(len(everything))[:100])
    panel = day_ahead_panel(kept)
    hourly = kept.to_hourly()
    of = {(h, d): kwh for h, d, kwh in zip(kept.household, kept.date, hourly.kwh, strict=True)}
    day = np.timedelta64(1, "D")
    wanted = {(h, d) for h, d in of if all((h, d - lag * day) in of for lag in range(1, HISTORY + 1))}
    assert {(h, d) for h, d in zip(panel.household, panel.date, strict=True)} == wanted
    assert 0 < len(panel) < len(kept)
    for i in range(len(panel)):
        h, d = panel.household[i], panel.date[i]
        past = np.stack([of[h, d - lag * day] for lag in range(1, HISTORY + 1)])
        columns = {name: panel.features[i, :, f] for f, name in enumerate(FEATURES)}
        assert panel.kwh[i] == pytest.approx(of[h, d])
        assert columns["day_before_kwh"] == pytest.approx(past[0])
        assert columns["week_before_kwh"] == pytest.approx(past[6])
        assert columns["hour_mean_kwh"] == pytest.approx(past.mean(axis=0))
        assert columns["level_kwh"] == pytest.approx(np.full(24, past.mean()))
        assert hourly.kwh[panel.row[i]] == pytest.approx(panel.kwh[i])
        weekday = d.astype(object).weekday()
        assert columns["weekday_sin"] == pytest.approx(np.full(24, np.sin(2 * np.pi * weekday / 7)))
        assert columns["hour_cos"] == pytest.approx(np.cos(2 * np.pi * np.arange(24) / 24))
        year_day = d.astype(object).timetuple().tm_yday - 1
        assert columns["season_sin"] == pytest.approx(np.full(24, np.sin(2 * np.pi * year_day / 365.25)))


def test_the_day_itself_is_not_among_its_features() -> None:
    households = simulate_households(2, n_days=8, random_state=2)
    panel = day_ahead_panel(households)
    last = households.date == households.days[-1]
    changed = households.kwh.copy()
    changed[last] += 5
    other = day_ahead_panel(replace(households, kwh=changed))
    assert (panel.features == other.features).all()
    assert other.kwh == pytest.approx(panel.kwh + 10, abs=1e-5)


def test_too_few_days_are_refused() -> None:
    with pytest.raises(InputError, match="8 days in a row"):
        day_ahead_panel(simulate_households(3, n_days=7))


def test_a_day_that_is_there_twice_is_refused() -> None:
    households = simulate_households(2, n_days=9, random_state=2)
    # The second day in place of the third: eight rows, eight days from first to last, and a gap.
    rows = np.arange(len(households))
    rows[households.date == households.days[2]] = rows[households.date == households.days[1]]
    with pytest.raises(InputError, match=r"each day of a household once, got .* again"):
        day_ahead_panel(households.take(rows))
