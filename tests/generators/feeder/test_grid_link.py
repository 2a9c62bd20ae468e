"""Transformers on buses: each bus has some, neighbours stay together, loads are right and can be learnt."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unlearn
from tests.generators.feeder.builders import small
from unlearn.errors import InputError
from unlearn.generators.feeder import (
    GeneratorConfig,
    MeterGenerator,
    TransformerGenerator,
    bus_loads,
    transformer_buses,
)
from unlearn.grid import GridCase


@pytest.mark.parametrize(
    ("case", "n"), [("ieee9", 3), ("ieee14", 14), ("ieee14", 400), ("ieee118", 99), ("ieee57", 500)]
)
def test_every_bus_has_a_run_of_neighbours(case: str, n: int) -> None:
    grid = unlearn.load_case(case)
    frame = TransformerGenerator(GeneratorConfig(num_transformers=n)).generate()
    bus = transformer_buses(frame, grid)
    assert (np.diff(bus) >= 0).all()
    assert sorted(set(bus)) == list(range(grid.n_loads))
    np.testing.assert_array_equal(bus, transformer_buses(frame, grid))
    if frame["barangay"].nunique() >= grid.n_loads:
        assert (pd.Series(bus).groupby(frame["barangay"]).nunique() == 1).all()


@given(st.lists(st.integers(1, 5000), min_size=14, max_size=60), st.data())
def test_any_capacities_and_clusters(capacity: list[int], data: st.DataObject) -> None:
    grid = unlearn.load_case("ieee14")
    cluster = np.sort(data.draw(st.lists(st.integers(0, 20), min_size=len(capacity), max_size=len(capacity))))
    frame = pd.DataFrame({"barangay": [f"B{c}" for c in cluster], "capacity_kVA": np.array(capacity, float)})
    bus = transformer_buses(frame, grid)
    assert (np.diff(bus) >= 0).all()
    assert sorted(set(bus)) == list(range(14))


def test_runs_are_as_large_as_their_bus(grid: GridCase) -> None:
    frame = TransformerGenerator(GeneratorConfig(num_transformers=60)).generate()
    frame = pd.concat([frame.assign(barangay=f"{k}", feeder_id="FD_01") for k in range(200)], ignore_index=True)
    bus = transformer_buses(frame, grid)
    capacity = np.bincount(bus, frame["capacity_kVA"]) / frame["capacity_kVA"].sum()
    # A cut is half a cluster off at most, so a run a whole one.
    np.testing.assert_allclose(capacity, grid.nominal_load_mw / grid.nominal_load_mw.sum(), atol=1 / 200 + 1e-9)


def test_too_few_transformers_are_refused(grid: GridCase) -> None:
    config = small(num_transformers=13)
    with pytest.raises(
        InputError, match="grid ieee14: expected a transformer for each of its 14 buses with load, got 13"
    ):
        bus_loads(config, grid)


def test_loads_are_the_meters_hours(grid: GridCase) -> None:
    config = small(last_month="2024-02")
    dataset = bus_loads(config, grid)
    assert dataset.load_names == tuple(f"bus_{number}" for number in grid.bus_numbers[grid.load_bus])
    assert (dataset.timestamps[0], dataset.timestamps[-1]) == (
        pd.Timestamp("2023-12-01 00:00"), pd.Timestamp("2024-02-29 23:00"),
    )  # fmt: skip
    meters, _ = MeterGenerator(config).generate()
    month = dataset.timestamps.strftime("monthly_consumption_%Y%m")
    by_month = pd.DataFrame(dataset.load_mw, dataset.timestamps).groupby(month).sum() * 1000
    bus = transformer_buses(TransformerGenerator(config).generate(), grid)
    of_meter = bus[meters["transformer_id"].str[3:].astype(int) - 1]
    expected = meters[config.consumption_columns].groupby(of_meter).sum().T
    np.testing.assert_allclose(by_month, expected.loc[by_month.index], rtol=1e-9)
    assert dataset.base_mva == grid.base_mva


def test_the_linear_forecaster_learns_from_them(grid: GridCase) -> None:
    dataset = bus_loads(small(num_meters=4000, num_transformers=60), grid).scaled_to(grid.nominal_load_mw)
    model = unlearn.fit_linear(dataset)
    test = dataset.split.test
    error = ((model.forecast(dataset.features[test]) - dataset.load_pu[test]) ** 2).mean()
    mean = ((dataset.load_pu[dataset.split.train].mean(axis=0) - dataset.load_pu[test]) ** 2).mean()
    assert error < 0.4 * mean
    # The temperature explains some of what the calendar does not.
    temperature = dataset.features[:, 0, dataset.feature_names.index("temperature_c")]
    hour = dataset.timestamps.hour
    afternoon = (hour == 14) & (dataset.timestamps.day_of_week < 5)
    assert np.corrcoef(temperature[afternoon], dataset.load_pu[afternoon].sum(axis=1))[0, 1] > 0.8
