"""Means and variances of encrypted series lie within their bounds."""

import numpy as np
import pytest

from unlearn.errors import ProtocolError
from unlearn.privacy.encrypted.ckks import RealEncryptor, new_real_keys
from unlearn.privacy.encrypted.envelope import new_run
from unlearn.privacy.encrypted.keys import SecretKeys
from unlearn.privacy.encrypted.moments import RunningMoments, hour, moments_task, open_moments
from unlearn.privacy.encrypted.precision import Task
from unlearn.privacy.federated import Identity, Roster

pytestmark = pytest.mark.extras

OWN = {name: Identity.new() for name in ("server", "utility")}
ROSTER = Roster({name: one.public for name, one in OWN.items()})


@pytest.mark.parametrize(("largest", "absolute"), [(1.0, 1e-6), (100.0, 1e-4), (1e4, 1e-1)])
def test_mean_and_variance_lie_within_their_bounds(largest: float, absolute: float) -> None:
    """Each slot is a series of its own: 2,048 random ones of all magnitudes, then series at the border of the range."""
    rng, n = np.random.default_rng(0), 2048
    keys = new_real_keys(moments_task(24, largest, absolute))
    x = rng.uniform(-largest, largest, (24, n)) * 10.0 ** rng.uniform(-6, 0, n)
    # A large mean and a small variance, where subtraction cancels.
    x[:, n // 2 :] = rng.choice([-1.0, 1.0], n // 2) * largest * (1.0 - 1e-3 * rng.random((24, n // 2)))
    x[:, 0], x[:, 1], x[:, 2] = largest, -largest, 0.0
    x[:, 3] = largest * (-1.0) ** np.arange(24)
    x[:, 4] = largest * (1.0 - 1e-9 * np.arange(24))
    within(keys, x, absolute)
    # Equal numbers in all slots fill one coefficient.
    within(keys, np.full((24, n), largest), absolute)


def within(keys: SecretKeys, x: np.ndarray, absolute: float) -> None:
    run, encryptor = new_run(), RealEncryptor(keys.public)
    sums = RunningMoments(keys.public, run, ROSTER)
    for i, row in enumerate(x):
        sent = encryptor.encrypt([row], run, "utility", hour(i)).signed(OWN["utility"]).payload()
        sums.add(sent, "utility")
    with pytest.raises(ProtocolError, match="at most 24 hours"):
        sums.add(sent, "utility")
    total = sums.total("server").signed(OWN["server"]).payload()
    found = open_moments(keys, total, run, ROSTER, "server", x.shape[1])
    assert np.abs(found.mean - x.mean(axis=0)).max() <= found.mean_error <= absolute
    assert np.abs(found.variance - x.var(axis=0)).max() <= found.variance_error
    with pytest.raises(ProtocolError, match="expected run"):
        open_moments(keys, total, new_run(), ROSTER, "server", x.shape[1])


def test_a_repeated_hour_is_refused() -> None:
    keys = new_real_keys(moments_task(3, 1.0, 1e-3))
    run = new_run()
    sums = RunningMoments(keys.public, run, ROSTER)
    with pytest.raises(ProtocolError, match="at least one hour"):
        sums.total("server")
    sent = RealEncryptor(keys.public).encrypt([[1.0]], run, "utility", hour(0)).signed(OWN["utility"]).payload()
    sums.add(sent, "utility")
    with pytest.raises(ProtocolError, match="expected step hour 1, got hour 0"):
        sums.add(sent, "utility")


def test_keys_without_room_for_squares_are_refused() -> None:
    keys = new_real_keys(Task(1.0, 1e-3, 3))
    with pytest.raises(ProtocolError, match="expected those for mean and variance"):
        RunningMoments(keys.public, new_run(), ROSTER)
    with pytest.raises(ProtocolError, match="expected those for mean and variance"):
        open_moments(keys, {}, new_run(), ROSTER, "server", 1)
