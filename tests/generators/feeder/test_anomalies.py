"""Each anomaly does to months and hours what it says; plug-ins are used, and refused where they go wrong."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.generators.feeder.builders import small
from unlearn.errors import InputError
from unlearn.generators.feeder import ANOMALIES, AnomalyEffect, MeterGenerator, MeterUse, block_hours, register_anomaly
from unlearn.generators.feeder.anomalies import apply_anomaly


def use_of(n: int, n_months: int, seed: int) -> MeterUse:
    random = np.random.default_rng(seed)
    return MeterUse(random.lognormal(5, 1, (n, n_months)), random.dirichlet(np.ones(24), (n, n_months)))


@given(st.sampled_from(sorted(ANOMALIES)), st.integers(0, 20), st.integers(1, 30), st.integers(0, 99))
def test_any_number_of_meters_and_months(name: str, n: int, n_months: int, seed: int) -> None:
    use = use_of(n, n_months, seed)
    effect = apply_anomaly(name, use, np.random.default_rng(seed))
    again = apply_anomaly(name, use, np.random.default_rng(seed))
    assert effect.kwh.shape == (n, n_months)
    np.testing.assert_array_equal(effect.kwh, again.kwh)
    np.testing.assert_array_equal(effect.hour_factor, again.hour_factor)


def test_low_consumption_declines_about_its_level() -> None:
    use = use_of(500, 12, 0)
    ratio = apply_anomaly("low_consumption", use, np.random.default_rng(1)).kwh / use.kwh
    assert 0.15 <= ratio.mean(axis=1).min() < ratio.mean(axis=1).max() <= 0.45
    drop = (ratio[:, 0] - ratio[:, -1]) / ratio.mean(axis=1)
    assert 0.1 <= drop.min() < drop.max() <= 0.5
    assert (np.diff(ratio, axis=1) < 0).all()


def test_a_spike_lasts_one_to_three_months() -> None:
    use = use_of(500, 12, 0)
    ratio = apply_anomaly("spike", use, np.random.default_rng(1)).kwh / use.kwh
    high = ratio > 1
    assert set(high.sum(axis=1)) == {1, 2, 3}
    assert 2 <= ratio[high].min() < ratio[high].max() <= 5
    assert (ratio[~high] == 1).all()
    assert (np.abs(np.diff(high.astype(int), axis=1, prepend=0, append=0)).sum(axis=1) == 2).all()  # successive
    assert high.any(axis=0).all()


def test_a_flat_line_repeats_a_month_to_the_end() -> None:
    use = use_of(500, 12, 0)
    effect = apply_anomaly("flatline", use, np.random.default_rng(1))
    first = effect.flat.argmax(axis=1)
    assert set(first) == set(range(6))
    for row, month in enumerate(first):
        np.testing.assert_array_equal(effect.kwh[row, :month], use.kwh[row, :month])
        assert (effect.kwh[row, month:] == use.kwh[row, month]).all()
        assert effect.flat[row, month:].all()


def test_a_night_bypass_takes_the_night_share() -> None:
    use = use_of(500, 12, 0)
    effect = apply_anomaly("night_bypass", use, np.random.default_rng(1))
    night = [22, 23, 0, 1, 2, 3, 4]
    left = effect.hour_factor[:, :, night]
    assert 0 <= left.min() < left.max() <= 0.4
    assert (np.delete(effect.hour_factor, night, axis=2) == 1).all()
    expected = use.kwh * (use.hour_share * effect.hour_factor).sum(axis=2)
    np.testing.assert_allclose(effect.kwh, expected, rtol=1e-12)


def generated(name: str) -> tuple[MeterGenerator, np.ndarray, np.ndarray]:
    """Hours of the anomalous meters of a block with and without their anomaly, (a, days, 24)."""
    generator = MeterGenerator(small(anomaly_rate=0.3, anomaly_types={name: 1.0}))
    clean = MeterGenerator(small(anomaly_rate=0.0))
    block = generator.block(0)
    hours = block_hours(generator, block, 2)[block.anomalous].reshape(len(block.anomalous), -1, 24)
    normal = block_hours(clean, clean.block(0), 2)[block.anomalous].reshape(hours.shape)
    return generator, hours, normal


def test_bypassed_nights_show_in_the_hours() -> None:
    _, hours, normal = generated("night_bypass")
    night = np.isin(np.arange(24), (22, 23, 0, 1, 2, 3, 4))
    share = hours[:, :, night].sum(axis=(1, 2)) / normal[:, :, night].sum(axis=(1, 2))
    assert share.max() < 0.5
    # By day the meter reads as it did, up to the noise of its month.
    day = hours[:, :, ~night].sum(axis=(1, 2)) / normal[:, :, ~night].sum(axis=(1, 2))
    assert np.abs(day - 1).max() < 0.1
    assert abs(np.median(day) - 1) < 0.01


def test_flat_months_have_flat_hours() -> None:
    _, hours, normal = generated("flatline")
    spread = np.ptp(hours, axis=(1, 2)) / hours.mean(axis=(1, 2))
    # The last of three months is stuck whichever it began with.
    assert spread.max() < 1e-9
    assert (np.ptp(normal, axis=(1, 2)) / normal.mean(axis=(1, 2))).min() > 0.3


@pytest.fixture
def own() -> Iterator[Callable[[str, Callable], None]]:
    """Registers a type for one test."""
    known = dict(ANOMALIES)

    def register(name: str, anomaly: Callable) -> None:
        register_anomaly(name)(anomaly)

    yield register
    ANOMALIES.clear()
    ANOMALIES.update(known)


def test_a_type_of_one_s_own_is_used(own: Callable) -> None:
    own("half", lambda use, random: AnomalyEffect(use.kwh / 2))
    config = small(anomaly_types={"half": 1.0}, risk_thresholds=(0.5, 0.6))
    meters, labels = MeterGenerator(config).generate()
    clean, _ = MeterGenerator(small(anomaly_rate=0.0)).generate()
    flagged = meters["meter_id"].isin(labels["meter_id"])
    columns = config.consumption_columns
    np.testing.assert_allclose(meters.loc[flagged, columns], clean.loc[flagged, columns] / 2, atol=0.0101)
    assert set(labels["anomaly_type"]) == {"half"}
    assert set(labels["risk_band"]) == {"Medium"}  # half of the energy is missing, and a threshold belongs to its band


@pytest.mark.parametrize(
    ("anomaly", "message"),
    [
        (lambda use, random: use.kwh, "return an AnomalyEffect, got ndarray"),
        (lambda use, random: AnomalyEffect(use.kwh[:, :1]), "of shape"),
        (lambda use, random: AnomalyEffect(-use.kwh), "at least 0"),
        (lambda use, random: AnomalyEffect(use.kwh * np.nan), "finite"),
        (lambda use, random: AnomalyEffect(use.kwh, hour_factor=np.ones(7)), r"broadcast to \(meters, months, 24\)"),
        (lambda use, random: AnomalyEffect(use.kwh, hour_factor=np.zeros(24)), "leave some hour"),
        (lambda use, random: AnomalyEffect(use.kwh, hour_factor=-np.ones(24)), "hour factors"),
        (lambda use, random: AnomalyEffect(use.kwh, flat=np.ones(3, bool)), "flat as booleans"),
    ],
)
def test_plug_ins_that_go_wrong_are_refused_by_name(own: Callable, anomaly: Callable, message: str) -> None:
    own("broken", anomaly)
    with pytest.raises(InputError, match=f"'broken'.*{message}"):
        MeterGenerator(small(anomaly_types={"broken": 1.0})).generate()


def test_names_are_taken_once() -> None:
    with pytest.raises(InputError, match="'spike': the name is taken"):
        register_anomaly("spike")
    with pytest.raises(InputError, match="letters, digits and underscores"):
        register_anomaly("a b")
