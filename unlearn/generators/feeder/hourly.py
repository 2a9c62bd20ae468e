"""Hours of meters: their shapes and noise, scaled so that a month's hours sum to the meter's month."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray, require_shape
from unlearn.errors import InputError
from unlearn.generators.feeder.config import BLOCK, CLASSES, GeneratorConfig, Stream, generator
from unlearn.generators.feeder.meters import MeterBlock, MeterGenerator
from unlearn.generators.feeder.transformers import METER, identifiers
from unlearn.households.profiles import DailyProfiles


def block_hours(meters: MeterGenerator, block: MeterBlock, month: int) -> FloatArray:
    """Energy of each hour of a month of a block's meters in kWh, shape (n, hours).

    An hour is the expected shape of the meter's kind times `1 + spread * (E - 1)`, E exponential of mean 1, times what
    an anomaly leaves of that hour of the day; then each meter's hours are scaled to its month. The random stream
    belongs to the block and month, so any of them can be made by itself.

    Args:
        meters: the generator of the block.
        block: the meters.
        month: position of the month.
    """
    shapes = meters.shapes
    random = generator(meters.config.random_seed, Stream.HOURS, block.start // BLOCK, month)
    energy = random.standard_exponential((len(block), shapes.hours_in(month)))
    spread = shapes.spread(block.kind)[:, None]
    energy *= spread
    energy += 1 - spread
    energy *= shapes.weights(month)[block.kind]
    for rows, effect in block.effects.values():
        if effect.hour_factor is not None:
            energy[rows] *= np.tile(effect.hour_factor[:, month], energy.shape[1] // 24)
        if effect.flat is not None:
            energy[rows[effect.flat[:, month]]] = 1.0
    energy *= (block.kwh[:, month] / energy.sum(axis=1))[:, None]
    return energy


def grouped_hours(meters: MeterGenerator, group: ArrayLike, n_groups: int) -> FloatArray:
    """Sum the hours of all meters by group of transformers; no more than a block's month is held at once.

    Args:
        meters: the generator.
        group: group of each transformer, 0 to n_groups - 1, shape (T,).
        n_groups: number of groups, such as buses or feeders.

    Returns:
        Energy of each hour in kWh, which is the mean power in kW, shape (H, n_groups).

    Raises:
        InputError: a group per transformer is missing or out of range.
    """
    groups = np.asarray(group)
    require_shape("group (one per transformer)", groups, (meters.config.num_transformers,))
    if groups.min() < 0 or groups.max() >= n_groups:
        raise InputError(f"group: expected 0 to {n_groups - 1}, got {groups.min()} to {groups.max()}.")
    shapes = meters.shapes
    total = np.zeros((n_groups, len(shapes.timestamps)))
    for index in tqdm(range(meters.n_blocks), desc="hours", unit="block", leave=False, delay=1):
        block = meters.block(index)
        of_meter = groups[block.transformer]
        first = np.flatnonzero(np.diff(of_meter, prepend=-1))
        for month in range(meters.config.num_months):
            hours = slice(shapes.first_hour(month), shapes.first_hour(month) + shapes.hours_in(month))
            runs = np.add.reduceat(block_hours(meters, block, month), first, axis=0)
            np.add.at(total[:, hours], of_meter[first], runs)
    return total.T


def hourly_frames(meters: MeterGenerator) -> Iterator[pd.DataFrame]:
    """Yield `meter_id, date, kwh_00, ..., kwh_23`, a row per meter and day, a block's month at a time."""
    columns = [f"kwh_{hour:02d}" for hour in range(24)]
    for index in range(meters.n_blocks):
        block = meters.block(index)
        ids = identifiers(METER, np.arange(block.start + 1, block.start + 1 + len(block)))
        for month, period in enumerate(meters.config.months):
            days = pd.date_range(period.start_time, periods=period.days_in_month).to_numpy("datetime64[ms]")
            energy = block_hours(meters, block, month).reshape(-1, 24)
            row = pa.array(np.repeat(np.arange(len(block)), len(days)))
            head = pa.table({"meter_id": ids.take(row), "date": np.tile(days, len(block))}).to_pandas()
            yield pd.concat([head, pd.DataFrame(energy, columns=pd.Index(columns))], axis=1)


def daily_profiles(config: GeneratorConfig, n: int, seed: int = 0) -> DailyProfiles:
    """Sample days of meters, each day of each meter as likely and at most once.

    Only the blocks and months that the days fall in are made, each once.

    Args:
        config: the settings of the generator.
        n: number of days.
        seed: of the sample; the meters are those of the configuration's own seed.

    Returns:
        Profiles of 24 hours in kWh with month, day of the week and the customer class as segment.

    Raises:
        InputError: fewer than 1 or more days than the meters have.
    """
    first_day, n_days = config.months[0].start_time, int(config.months.days_in_month.to_numpy().sum())
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= config.num_meters * n_days:
        raise InputError(f"n: expected 1 to {config.num_meters * n_days} days of meters, got {n!r}.")
    meters = MeterGenerator(config)
    meter, day = np.divmod(
        generator(seed, Stream.PROFILES).choice(config.num_meters * n_days, n, replace=False), n_days
    )
    date = first_day.to_numpy().astype("datetime64[D]") + day
    month = date.astype("datetime64[M]").astype(np.int64) - config.months[0].ordinal
    hour = 24 * (date - date.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    kwh, segment = np.empty((n, 24)), np.empty(n, np.int64)
    # Days of one block and month are next to each other in this order.
    key = meter // BLOCK * config.num_months + month
    order: IntArray = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    block = meters.block(0)
    for rows in tqdm(np.split(order, starts[1:]), desc="daily profiles", leave=False, delay=1):
        index = int(meter[rows[0]] // BLOCK)
        if block.start != index * BLOCK:
            block = meters.block(index)
        row = meter[rows] - block.start
        energy = block_hours(meters, block, int(month[rows[0]]))
        kwh[rows] = energy[row[:, None], hour[rows, None] + np.arange(24)]
        segment[rows] = block.customer_class[row]
    calendar = pd.DatetimeIndex(date)
    return DailyProfiles(
        name="feeder",
        kwh=kwh.astype(np.float32),
        month=calendar.month.to_numpy(np.int64),
        day_of_week=calendar.day_of_week.to_numpy(np.int64),
        segment=segment,
        segments=CLASSES,
    )
