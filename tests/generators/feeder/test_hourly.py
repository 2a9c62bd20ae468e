"""Hours: they sum to the months, follow their class's shape, and are the same whichever way they are asked for."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from tests.generators.feeder.builders import CONFIGS, small
from unlearn.errors import InputError
from unlearn.generators.feeder import (
    CLASSES,
    GeneratorConfig,
    MeterGenerator,
    block_hours,
    daily_profiles,
    grouped_hours,
    hourly_frames,
)

TINY = GeneratorConfig(num_meters=1100, num_transformers=12, num_months=2, anomaly_rate=0.2, last_month="2024-03")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The hourly table of TINY: 1,100 meters over February and March 2024."""
    return pd.concat(hourly_frames(MeterGenerator(TINY)), ignore_index=True)


@given(CONFIGS)
def test_hours_sum_to_the_month_and_are_not_negative(config: GeneratorConfig) -> None:
    generator = MeterGenerator(config)
    for month in {0, config.num_months - 1}:
        block = generator.block(generator.n_blocks - 1)
        hours = block_hours(generator, block, month)
        assert hours.shape == (len(block), 24 * config.months[month].days_in_month)
        assert (hours >= 0).all()
        np.testing.assert_allclose(hours.sum(axis=1), block.kwh[:, month], rtol=1e-12)


def test_the_table_has_each_meter_and_day_once_and_sums_to_the_months(table: pd.DataFrame) -> None:
    meters, _ = MeterGenerator(TINY).generate()
    assert len(table) == 1100 * 60
    assert not table.duplicated(["meter_id", "date"]).any()
    assert (table["date"].min(), table["date"].max()) == (pd.Timestamp("2024-02-01"), pd.Timestamp("2024-03-31"))
    energy = table.filter(like="kwh_").sum(axis=1)
    sums = energy.groupby([table["meter_id"], table["date"].dt.strftime("monthly_consumption_%Y%m")]).sum().unstack()
    np.testing.assert_allclose(sums.loc[meters["meter_id"]], meters[TINY.consumption_columns], rtol=1e-12)


def test_groups_add_up_the_table(table: pd.DataFrame) -> None:
    generator = MeterGenerator(TINY)
    group = np.array([2, 0, 1] * 4)
    sums = grouped_hours(generator, group, 4)
    assert sums.shape == (60 * 24, 4)
    transformer = generator.generate()[0].set_index("meter_id")["transformer_id"]
    of_row = group[transformer.loc[table["meter_id"]].str[3:].astype(int) - 1]
    expected = table.filter(like="kwh_").groupby([table["date"], of_row]).sum()
    for g in range(3):
        np.testing.assert_allclose(sums[:, g], expected.xs(g, level=1).to_numpy().ravel(), rtol=1e-9)
    assert (sums[:, 3] == 0).all()


def test_groups_must_be_one_per_transformer() -> None:
    generator = MeterGenerator(TINY)
    with pytest.raises(InputError, match="one per transformer"):
        grouped_hours(generator, [0, 1], 2)
    with pytest.raises(InputError, match="expected 0 to 1, got 0 to 2"):
        grouped_hours(generator, [0, 1, 2] * 4, 2)


def test_hours_follow_the_shape_of_their_class_and_weekday() -> None:
    config = small(num_meters=2048, num_months=1, anomaly_rate=0.0)
    generator = MeterGenerator(config)
    block = generator.block(0)
    hours = block_hours(generator, block, 0)
    relative = hours / hours.mean(axis=1, keepdims=True)
    mean = np.stack([relative[block.customer_class == c].mean(axis=0) for c in range(3)])
    weekday = np.repeat(pd.date_range("2023-12-01", "2023-12-31").day_of_week, 24)
    hour = np.arange(mean.shape[1]) % 24
    by_hour = np.stack([[mean[c, (weekday < 5) & (hour == h)].mean() for h in range(24)] for c in range(3)])
    assert 18 <= by_hour[0].argmax() <= 21  # evenings at home
    assert 12 <= by_hour[1].argmax() <= 15  # afternoons in shops
    assert np.ptp(by_hour[2]) < 0.6 * np.ptp(by_hour[1])  # plants run through
    for c in (1, 2):
        assert mean[c, weekday == 6].mean() < 0.85 * mean[c, weekday < 5].mean()
    assert mean[0, weekday == 6].mean() > mean[0, weekday < 5].mean()
    # A home's single hours vary more than a plant's.
    noise = [(relative[block.customer_class == c] - mean[c]).std() for c in range(3)]
    assert noise[0] > 1.5 * noise[1] > 2 * noise[2]


def test_months_and_blocks_do_not_repeat_their_noise() -> None:
    generator = MeterGenerator(small(num_meters=2048, last_month="2023-10", anomaly_rate=0.0))
    blocks = [generator.block(0), generator.block(1)]

    def noise(block: int, month: int) -> np.ndarray:
        hours = block_hours(generator, blocks[block], month) / generator.shapes.weights(month)[blocks[block].kind]
        hours = hours / hours.mean(axis=1, keepdims=True) - 1
        return (hours / hours.std(axis=1, keepdims=True)).ravel()

    first = noise(0, 0)
    for other in (noise(0, 2), noise(1, 0)):  # August and October have as many hours
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.01
    np.testing.assert_array_equal(first, noise(0, 0))


def test_daily_profiles_are_rows_of_the_table(table: pd.DataFrame) -> None:
    profiles = daily_profiles(TINY, 300, seed=3)
    assert profiles.kwh.shape == (300, 24)
    assert profiles.segments == CLASSES
    rows = table.filter(like="kwh_").to_numpy(np.float32)
    place = {row.tobytes(): i for i, row in enumerate(rows)}
    assert len(place) == len(rows)
    found = [place[row.tobytes()] for row in profiles.kwh]
    assert len(set(found)) == 300
    days = pd.DatetimeIndex(table["date"].iloc[found])
    assert (profiles.month == days.month).all()
    assert (profiles.day_of_week == days.day_of_week).all()
    meters = MeterGenerator(TINY).generate()[0].set_index("meter_id")
    classes = meters.loc[table["meter_id"].iloc[found], "customer_class"]
    assert (np.array(profiles.segments)[profiles.segment] == classes.to_numpy()).all()
    assert profiles.fingerprint == daily_profiles(TINY, 300, seed=3).fingerprint
    assert profiles.fingerprint != daily_profiles(TINY, 300, seed=4).fingerprint


def test_all_days_can_be_drawn_and_no_more() -> None:
    config = GeneratorConfig(num_meters=5, num_transformers=2, num_months=1)
    profiles = daily_profiles(config, 5 * 31)
    assert len(np.unique(profiles.kwh, axis=0)) == 5 * 31
    for n in (0, 5 * 31 + 1, 2.0):
        with pytest.raises(InputError, match="expected 1 to 155 days"):
            daily_profiles(config, n)
