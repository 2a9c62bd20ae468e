"""Households at the grid's loads: against sums by hand, and forecasts that learn from training weeks alone."""

import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.grid import OperatingCost, load_case
from unlearn.households import hourly_meters, simulate_households
from unlearn.households.meters import Meters
from unlearn.studies._shared.feeders import AREA, Feeders, feeders_of, measure_published


@pytest.fixture(scope="module")
def meters() -> Meters:
    return hourly_meters(simulate_households(20, n_days=40))


@pytest.fixture(scope="module")
def feeders(meters: Meters) -> Feeders:
    return feeders_of(meters, OperatingCost(load_case("ieee9")), seed=1)


def test_feeders_are_sums_of_their_households(meters: Meters, feeders: Feeders) -> None:
    series = meters.series(np.arange(len(meters)))
    for b in range(len(feeders.names)):
        own = series[feeders.feeder_of == b].sum(axis=0)
        np.testing.assert_array_equal(feeders.kwh[:, b].ravel(), own)
    np.testing.assert_array_equal(feeders.by_day(feeders.kwh.transpose(1, 0, 2).reshape(3, -1)), feeders.kwh)
    assert sorted(np.bincount(feeders.feeder_of)) == [6, 7, 7]
    assert feeders.parents == {**dict.fromkeys(feeders.names, "substation_1"), "substation_1": AREA}
    assert set(feeders.groups) == set(meters.customer_ids)


def test_only_whole_days_of_meters_that_have_all_of_them_are_used(meters: Meters) -> None:
    part = meters.between(meters.hours[5], meters.hours[24 * 30 + 7])
    found = feeders_of(part, OperatingCost(load_case("ieee9")))
    assert len(found.plan.days) == 29
    assert found.meters.hours[0].hour == 0
    assert found.kwh.shape == (29, 3, 24)


def test_forecasts_are_tested_on_true_loads_whatever_was_published(feeders: Feeders) -> None:
    flat = np.broadcast_to(feeders.kwh.mean(axis=(0, 2))[:, None], feeders.kwh.shape)
    rows = list(measure_published(feeders, {"true": feeders.kwh, "flat": flat}))
    mape = {(source, kind): value for source, kind, metric, value in rows if metric == "mape"}
    assert mape["true", "linear"] < mape["flat", "linear"]
    assert mape["nothing", "perfect forecast"] == 0
    with pytest.raises(InputError, match="published flat"):
        list(measure_published(feeders, {"flat": flat[:, :, :12]}))


def test_refusals(meters: Meters) -> None:
    with pytest.raises(InputError, match="n_loads"):
        feeders_of(meters.take(np.arange(2)), OperatingCost(load_case("ieee9")))
    with pytest.raises(InputError, match="expected more days than 7"):
        feeders_of(meters.between(meters.hours[0], meters.hours[24 * 6]), OperatingCost(load_case("ieee9")))
    with pytest.raises(InputError, match="at least one whole day"):
        feeders_of(meters.between(meters.hours[3], meters.hours[20]), OperatingCost(load_case("ieee9")))
