"""Attacks on training hours: exact shares, exact formulas, nothing else touched, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.data import Poisoned, load_dataset, poison
from unlearn.errors import InputError

CLEAN = load_dataset("synthetic", n_hours=300, n_loads=3)


def factors(poisoned: Poisoned) -> np.ndarray:
    """Poisoned over original load of the attacked hours, shape (n, B)."""
    return poisoned.dataset.load_mw[poisoned.mask] / poisoned.original.load_mw[poisoned.mask]


@given(
    share=st.floats(0.02, 0.6),
    kind=st.sampled_from(["noise", "scaling", "ramp"]),
    hours=st.integers(1, 60),
    seed=st.integers(0, 5),
    sensitive=st.booleans(),
)
def test_exactly_the_share_of_open_rows_is_attacked_and_nothing_else(
    share: float, kind: str, hours: int, seed: int, sensitive: bool
) -> None:
    rows = CLEAN.split.sensitive if sensitive else None
    poisoned = poison(CLEAN, share, kind, 0.5, seed, interval_hours=hours, rows=rows)
    open_rows = CLEAN.split.sensitive if sensitive else CLEAN.split.train
    assert poisoned.mask.sum() == max(1, round(share * len(open_rows)))
    assert np.isin(np.flatnonzero(poisoned.mask), open_rows).all()
    changed = (poisoned.dataset.load_mw != CLEAN.load_mw).any(axis=1)
    np.testing.assert_array_equal(changed, poisoned.mask)
    assert (poisoned.dataset.load_mw >= 0).all()
    np.testing.assert_array_equal(poisoned.dataset.features, CLEAN.features)
    assert (poisoned.kind, poisoned.strength, poisoned.share) == (kind, 0.5, share)


def test_scaling_multiplies_and_ramps_rise_to_the_middle() -> None:
    np.testing.assert_allclose(factors(poison(CLEAN, 0.2, "scaling", -0.4)), 0.6)
    # All rows are attacked but one, so that whole intervals of four hours are seen.
    ramp = poison(CLEAN, 0.99, "ramp", 1.0, interval_hours=4)
    whole = factors(ramp)[:, 0]
    np.testing.assert_allclose(np.unique(whole.round(12)), [1.5, 2.0])
    steps = np.flatnonzero(ramp.mask)
    place = (np.arange(len(whole)) + int(np.random.default_rng(0).integers(4))) % 4
    np.testing.assert_allclose(whole[: steps[0] + 20], np.array([1.5, 2.0, 2.0, 1.5])[place[: steps[0] + 20]])
    odd = factors(poison(CLEAN, 0.5, "ramp", -0.6, interval_hours=5))
    np.testing.assert_allclose(np.unique(odd.round(12)), [0.4, 0.6, 0.8])


def test_noise_has_the_strength_as_its_standard_deviation_and_differs_between_loads() -> None:
    large = load_dataset("synthetic", n_hours=6000, n_loads=3)
    noise = factors(poison(large, 0.9, "noise", 0.1)) - 1
    assert noise.std() == pytest.approx(0.1, rel=0.03)
    assert abs(noise.mean()) < 0.005
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.06


def test_a_strong_noise_never_makes_loads_negative() -> None:
    poisoned = poison(CLEAN, 0.5, "noise", 3.0)
    assert poisoned.dataset.load_mw.min() == 0


@pytest.mark.parametrize("kind", ["noise", "scaling", "ramp"])
def test_a_smaller_share_is_part_of_a_larger_one(kind: str) -> None:
    small, large = (poison(CLEAN, share, kind, 0.3, seed=4) for share in (0.1, 0.35))
    assert (large.mask | ~small.mask).all()
    np.testing.assert_array_equal(small.dataset.load_mw[small.mask], large.dataset.load_mw[small.mask])
    assert (poison(CLEAN, 0.1, kind, 0.3, seed=5).mask != small.mask).any()


def test_intervals_are_contiguous() -> None:
    mask = poison(CLEAN, 0.3, "scaling", 0.5, interval_hours=21).mask
    starts = np.flatnonzero(np.diff(mask.astype(int)) == 1)
    assert len(starts) <= 4  # 63 hours are three intervals, one of them perhaps the end and the start of two


def test_only_the_named_loads_are_attacked() -> None:
    poisoned = poison(CLEAN, 0.2, "scaling", 0.5, loads=[CLEAN.load_names[1]])
    np.testing.assert_allclose(factors(poisoned), np.broadcast_to([1.0, 1.5, 1.0], (42, 3)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "pulse"}, "poison: kind: expected one of noise, ramp, scaling"),
        ({"share": 1.0}, "poison: share"),
        ({"strength": 0.0}, "other than 0 for scaling, got 0.0"),
        ({"strength": -1.5}, "at least -1"),
        ({"kind": "noise", "strength": -0.1}, "above 0 for noise"),
        ({"strength": float("nan")}, "strength"),
        ({"interval_hours": 0}, "interval_hours"),
        ({"loads": ["nowhere"]}, "expected a list of some of"),
        ({"loads": []}, "expected a list of some of"),
        ({"rows": [299]}, "1 of 1 that are not, first 299. Validation and test rows stay clean"),
        ({"rows": np.zeros(300, dtype=bool)}, "none at all"),
    ],
)
def test_what_cannot_be_poisoned_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        poison(CLEAN, **{"share": 0.1, "kind": "scaling", "strength": 0.5, **arguments})
