"""Indicators of loads above limits are right outside of the band, and tell no more than they promise."""

import numpy as np
import pytest

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.envelope import new_run
from unlearn.privacy.encrypted.keys import SecretKeys
from unlearn.privacy.encrypted.limits import (
    _FLAT,
    _STEEP,
    LimitTask,
    above_limits,
    encrypt_loads,
    limit_task_of,
    new_limit_keys,
    open_above,
    plan_of,
)
from unlearn.privacy.federated import Identity, Roster

OWN = {name: Identity.new() for name in ("server", "utility")}
ROSTER = Roster({name: one.public for name, one in OWN.items()})


@pytest.mark.parametrize("band", [1.0, 3.0, 10.0, 50.0])
def test_polynomials_bring_every_number_outside_of_the_band_near_one(band: float) -> None:
    plan = plan_of(LimitTask(100.0, band, 0.01))
    x = np.linspace(band / 100.0, 1.0, 200_001)
    for a, b in [_STEEP] * plan.steep + [_FLAT] * plan.flat:
        x = a * x - b * x**3
    assert x.min() > 0.5
    assert x.max() - x.min() <= plan.told <= 0.01


def test_a_band_too_narrow_for_the_depth_is_refused() -> None:
    with pytest.raises(InputError, match="deeper than the largest ciphertext"):
        plan_of(LimitTask(100.0, 0.1))
    with pytest.raises(InputError, match="less than largest"):
        LimitTask(1.0, 1.0)


def compared(task: LimitTask) -> None:
    keys, rng = new_limit_keys(task), np.random.default_rng(0)
    n, top = plan_of(task).degree // 2, task.largest
    limits, loads = rng.uniform(0.0, top, (2, n))
    # Half of the loads lie at the band's edges, on either side; then the corners of the range.
    half = slice(0, n // 2)
    loads[half] = (limits + rng.choice([-1.0, 1.0], n) * task.band)[half]
    loads = np.clip(loads, 0.0, top)
    limits[:4], loads[:4] = [0.0, top, 0.0, top], [top, 0.0, task.band, top - task.band]
    right(task, keys, limits, loads)
    # Equal numbers in all slots fill one coefficient: at the largest difference, and at the edge of the band.
    right(task, keys, np.zeros(n), np.full(n, top))
    right(task, keys, np.full(n, top), np.full(n, top - task.band))


def right(task: LimitTask, keys: SecretKeys, limits: np.ndarray, loads: np.ndarray) -> None:
    run, n = new_run(), len(loads)
    clear = np.abs(loads - limits) >= task.band * (1.0 - 1e-12)
    sent = encrypt_loads(keys.public, loads, run, "utility").signed(OWN["utility"]).payload()
    found = above_limits(keys.public, sent, run, ROSTER, "utility", limits, "server").signed(OWN["server"]).payload()
    above = open_above(keys, found, run, ROSTER, "server", n)
    assert clear.sum() > 1000
    np.testing.assert_array_equal(above[clear], (loads > limits)[clear])
    with pytest.raises(ProtocolError, match="expected run"):
        open_above(keys, found, new_run(), ROSTER, "server", n)
    with pytest.raises(InputError, match="others"):
        encrypt_loads(keys.public, [task.largest * 1.01], run, "utility")


@pytest.mark.extras
def test_indicators_are_right_at_the_edges_of_a_wide_band() -> None:
    compared(LimitTask(100.0, 50.0, 0.3))


@pytest.mark.extras
@pytest.mark.slow
def test_indicators_are_right_at_the_edges_of_a_narrow_band() -> None:
    compared(LimitTask(100.0, 2.0))


@pytest.mark.extras
def test_a_task_of_numpy_numbers_is_the_same_task() -> None:
    task = LimitTask(np.int64(100), np.float32(50.0), 0.3)
    assert limit_task_of(new_limit_keys(task).public) == LimitTask(100.0, 50.0, 0.3)
