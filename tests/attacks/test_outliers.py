"""Outlier households are as asked and put among others; copies are found as by brute force over pairs and shifts."""

import numpy as np
import pytest

from tests.studies.households import made_households
from unlearn.attacks import (
    OutlierOptions,
    check_copies,
    draw_outliers,
    exact_copies,
    inject_outliers,
    make_outliers,
    most_similar,
)
from unlearn.errors import InputError, MismatchError

TRAIN = made_households(12, 10)


def test_outliers_have_the_norm_and_noise_that_were_asked_for() -> None:
    options = OutlierOptions(households=30, days=8, norm_kwh=7.0, noise=0.1)
    for pattern in ("pulses", "waves"):
        made = make_outliers(TRAIN, pattern, "seen", options, 0)
        assert len(made) == 240
        days = made.kwh.reshape(30, 8, 48).astype(np.float64)
        mean = days.mean(axis=1)
        # Eight days of 10 % noise: the mean pattern's norm is within a few per cent.
        np.testing.assert_allclose(np.linalg.norm(mean, axis=1), 7.0, rtol=0.06)
        on = mean > 0.5
        ratio = np.log(days.transpose(0, 2, 1)[on])
        ratio -= ratio.mean(axis=1, keepdims=True)
        assert np.sqrt((ratio**2).sum() / (7 * len(ratio))) == pytest.approx(0.1, rel=0.05)
        assert (np.diff(np.sort(made.date.reshape(30, 8), axis=1), axis=1) > np.timedelta64(0, "D")).all()


def test_pulses_are_on_for_their_share_of_the_day_and_waves_turn_their_number_of_times() -> None:
    options = OutlierOptions(households=40, days=1, noise=0.0, share_on=0.25)
    pulses = make_outliers(TRAIN, "pulses", "a", options, 0).kwh
    assert ((pulses > 0).sum(axis=1) == 12).all()
    assert len(np.unique(pulses > 0, axis=0)) == 40
    strength = np.abs(np.fft.rfft(make_outliers(TRAIN, "waves", "b", options, 0).kwh, axis=1))[:, 1:]
    assert set(strength.argmax(axis=1) + 1) <= set(range(3, 13))


def test_seen_and_unseen_are_of_one_distribution_and_all_different() -> None:
    sets = draw_outliers(TRAIN, OutlierOptions(households=50, days=2, seen="waves"), 3)
    ids = [set(part.households["household_id"]) for part in sets.values()]
    assert len(set.union(*ids)) == 150
    off = {name: (part.kwh == 0).mean() for name, part in sets.items()}
    assert off["seen"] < 0.1
    assert off["unseen"] < 0.1
    assert off["unseen_other"] > 0.7
    assert not np.allclose(sets["seen"].kwh, sets["unseen"].kwh)
    again = draw_outliers(TRAIN, OutlierOptions(households=50, days=2, seen="waves"), 3)
    np.testing.assert_array_equal(again["seen"].kwh, sets["seen"].kwh)
    other = draw_outliers(TRAIN, OutlierOptions(households=50, days=2, seen="waves"), 4)
    assert not np.allclose(other["seen"].kwh, sets["seen"].kwh)


def test_injected_outliers_are_further_households() -> None:
    sets = draw_outliers(TRAIN, OutlierOptions(households=5, days=3), 0)
    both = inject_outliers(TRAIN, sets["seen"])
    assert both.n_households == 17
    assert len(both) == len(TRAIN) + 15
    back = both.of_households(np.arange(12, 17))
    np.testing.assert_array_equal(back.kwh, sets["seen"].kwh)
    np.testing.assert_array_equal(back.date, sets["seen"].date)
    assert back.households["household_id"].tolist() == sets["seen"].households["household_id"].tolist()
    np.testing.assert_array_equal(both.of_households(np.arange(12)).kwh, TRAIN.kwh)
    names = both.households["segment"].to_numpy()[both.household]
    np.testing.assert_array_equal(np.asarray(both.segments)[both.segment], names)


def test_what_cannot_be_made_or_injected_is_refused() -> None:
    with pytest.raises(InputError, match=r"outliers\.days: expected at most the 10 days of made up, got 11"):
        draw_outliers(TRAIN, OutlierOptions(days=11))
    with pytest.raises(InputError, match=r"pattern: expected one of pulses, waves; got 'noise'"):
        make_outliers(TRAIN, "noise", "a", OutlierOptions(), 0)
    seen = draw_outliers(TRAIN, OutlierOptions(days=2))["seen"]
    with pytest.raises(MismatchError, match="expected the 24 steps"):
        inject_outliers(TRAIN.to_hourly(), seen)
    with pytest.raises(MismatchError, match="got outlier-seen-0000 in both"):
        inject_outliers(inject_outliers(TRAIN, seen), seen)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"households": 0}, r"outliers\.households"),
        ({"days": 1.5}, r"outliers\.days"),
        ({"norm_kwh": 0.0}, r"outliers\.norm_kwh"),
        ({"noise": -0.1}, r"outliers\.noise"),
        ({"share_on": 0.6}, r"outliers\.share_on"),
        ({"seen": "noise"}, r"outliers\.seen"),
    ],
)
def test_unusable_options_are_refused(option: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        OutlierOptions(**option)


def days(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.0, 0.3, (n, 24))


def test_matches_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = days(15, 0), days(20, 1)
    monkeypatch.setattr("unlearn.attacks.outliers._BLOCK", 90)
    found = most_similar(made, real, shifts=2)
    norm = np.linalg.norm(real, axis=1)
    for i, one in enumerate(made):
        every = {
            (row, shift): np.linalg.norm(one - np.roll(real[row], shift)) / norm[row]
            for row in range(20)
            for shift in range(-2, 3)
        }
        best = min(every, key=lambda key: every[key])
        assert found.distance[i] == pytest.approx(every[best], rel=1e-9)
        assert (found.row[i], found.shift[i]) == best


def test_shifted_and_noisy_copies_are_found_where_they_are_looked_for() -> None:
    real = days(50, 0)
    moved = np.roll(real[:10], 2, axis=1)
    noisy = real[10:20] * (1 + 0.02 * np.random.default_rng(1).standard_normal((10, 24)))
    made = np.concatenate([moved, noisy, days(80, 2)])
    found = most_similar(made, real, shifts=2)
    assert found.share(0.05) == 0.2
    assert found.share(0.05, shifted=False) == 0.1
    assert most_similar(made, real).share(0.05) == 0.1
    assert (found.shift[:10] == 2).all()
    np.testing.assert_array_equal(found.row[:20], np.arange(20))


def test_exact_copies_are_equal_in_every_step() -> None:
    real = days(30, 0).astype(np.float32)
    real[5] = 0
    made = np.concatenate([real[:8], real[:8] + np.float32(1e-3)])
    # A day without energy is nobody's.
    np.testing.assert_array_equal(exact_copies(made, real), [*[True] * 5, False, True, True, *[False] * 8])


def test_a_release_of_copies_fails_and_coincidences_pass() -> None:
    real, other = days(60, 0), days(60, 1)
    made = np.concatenate([real[:6], days(54, 2)])
    to_train, to_other = most_similar(made, real), most_similar(made, other)
    failed = check_copies((0.1, 0.0), to_train, to_other, 0.05, 0.02)
    assert len(failed) == 2
    assert "10.00 % of the release are exact copies of training days" in failed[0]
    assert not check_copies((0.1, 0.0), to_train, to_other, 0.05, 0.1)
    # As many copies of others: coincidence.
    assert not check_copies((0.1, 0.1), to_train, to_train, 0.05, 0.001)


def test_unusable_input_is_refused() -> None:
    made = days(4, 0)
    with pytest.raises(InputError, match="real: expected profiles with energy"):
        most_similar(made, np.zeros((2, 24)))
    with pytest.raises(InputError, match="shifts: expected 0 to less than half of the 24 steps, got 12"):
        most_similar(made, made, shifts=12)
    found = most_similar(made, made)
    with pytest.raises(InputError, match="near: expected a share"):
        check_copies((0, 0), found, found, 1.0, 0.1)
    with pytest.raises(InputError, match="max_copies"):
        check_copies((0, 0), found, found, 0.1, -1)
    with pytest.raises(InputError, match="the same release compared with both sides, got 4 and 2"):
        check_copies((0, 0), found, most_similar(made[:2], made), 0.1, 0.1)
