import numpy as np
import pytest

from tests.privacy.federated.utilities import federation, loads
from unlearn.checks import FloatArray
from unlearn.errors import InputError, MismatchError
from unlearn.households import CustomerLoads
from unlearn.privacy.federated import difference_reveals, fit_federated, update_federated, withdraw


def first_harmonic(data: CustomerLoads, mw: FloatArray) -> FloatArray:
    """Least squares of loads on the hour of the day over the training rows, at each hour, shape (24,)."""

    def basis(hour: FloatArray) -> FloatArray:
        return np.stack([np.ones_like(hour), np.sin(2 * np.pi * hour / 24), np.cos(2 * np.pi * hour / 24)], axis=1)

    train = data.split.train
    hours = data.timestamps.hour.to_numpy()[train].astype(float)
    return basis(np.arange(24.0)) @ np.linalg.lstsq(basis(hours), mw[train], rcond=None)[0]


def left(place: int, customer: int) -> tuple[int, FloatArray]:
    """Which load a customer is at, and what it took there, (N,)."""
    data = loads(place)
    apart = data.load_mw - data.without([data.customer_ids[customer]]).load_mw
    load = int(np.abs(apart).sum(axis=0).argmax())
    return load, apart[:, load]


def test_two_totals_show_the_mean_day_of_a_customer_that_left_alone() -> None:
    members, channel = federation()
    before = fit_federated(channel)
    members["north"].forget(loads(0).customer_ids[:1])
    seen = difference_reveals(before, update_federated(channel, before), len(loads(0).split.train))
    load, mw = left(0, 0)
    assert seen.loads == (loads(0).load_names[load],)
    np.testing.assert_allclose(seen.profile_mw[:, 0], first_harmonic(loads(0), mw), rtol=1e-9)
    np.testing.assert_allclose(seen.mean_mw, seen.profile_mw.mean(axis=0), rtol=1e-9)


def test_in_a_batch_those_at_one_load_are_seen_as_their_sum_and_others_apart() -> None:
    members, channel = federation()
    before = fit_federated(channel)
    chosen = {0: range(8), 1: range(8)}
    at = {(place, i): left(place, i) for place, own in chosen.items() for i in own}
    one = next(key for key, (load, _) in at.items() if load == 0 and key[0] == 0)
    two = next(key for key, (load, _) in at.items() if load == 0 and key[0] == 1)
    apart = next(key for key, (load, _) in at.items() if load == 1 and key[0] == 1)
    for place, i in (one, two, apart):
        list(members.values())[place].forget([loads(place).customer_ids[i]])
    seen = difference_reveals(before, update_federated(channel, before), len(loads(0).split.train))
    assert seen.loads == ("bus_1", "bus_2")
    np.testing.assert_allclose(seen.profile_mw[:, 0], first_harmonic(loads(0), at[one][1] + at[two][1]), rtol=1e-9)
    np.testing.assert_allclose(seen.profile_mw[:, 1], first_harmonic(loads(0), at[apart][1]), rtol=1e-9)


def test_two_totals_show_all_loads_of_a_member_that_left() -> None:
    members, channel = federation()
    before = fit_federated(channel)
    members["west"].leave()
    seen = difference_reveals(before, withdraw(channel, before, "west"), len(loads(2).split.train))
    assert seen.loads == loads(2).load_names
    for b in range(2):
        np.testing.assert_allclose(seen.profile_mw[:, b], first_harmonic(loads(2), loads(2).load_mw[:, b]), rtol=1e-9)


def test_where_nothing_left_nothing_is_seen() -> None:
    _, channel = federation()
    before = fit_federated(channel)
    assert difference_reveals(before, update_federated(channel, before), 10).loads == ()


def test_models_of_other_columns_are_refused() -> None:
    _, channel = federation()
    before = fit_federated(channel)
    other = fit_federated(federation([loads(i).with_lags([48]) for i in range(3)], ("a", "b", "c"))[1])
    with pytest.raises(MismatchError, match="feature_names"):
        difference_reveals(before, other, 10)
    with pytest.raises(InputError, match="rows"):
        difference_reveals(before, before, 0)
