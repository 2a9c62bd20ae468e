"""Who fits: against brute force over records and steps, by known answers, and by what cannot change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unlearn.attacks import PublishedSeries, known_readings, link_by_distance, link_by_match
from unlearn.errors import InputError

STEPS = np.arange(24)


def homes(n: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.0, 0.2, (n, 24)).round(2)


def coarse(kwh: np.ndarray, per: int, kind: str = "sum", **options: float) -> PublishedSeries:
    cells = kwh.reshape(len(kwh), -1, per)
    made = {"sum": cells.sum(2), "min": cells.min(2), "max": cells.max(2)}[kind]
    return PublishedSeries(made, STEPS // per, kind, **options)


def by_hand(release: PublishedSeries, kwh: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Records that fit each target, one comparison at a time, shape (C, R)."""
    found = np.ones((len(kwh), len(release.values)), dtype=bool)
    for c, steps in enumerate(known):
        for cell in set(release.step_of[steps].tolist()) - {-1}:
            inside = np.flatnonzero(release.step_of == cell)
            readings = kwh[c, [s for s in steps if s in inside]]
            whole = len(readings) == len(inside) and release.kind != "group_sum"
            for r, value in enumerate(release.values[:, cell]):
                if np.isnan(value):
                    continue
                slack = release.tolerance + 1e-5
                made = {"min": min, "max": max}.get(release.kind, sum)(readings.tolist())
                above, below = value >= made - slack, value <= made + slack
                fits = (below if release.kind == "min" else above) if not whole else (above and below)
                found[c, r] &= fits
    return found


@pytest.mark.parametrize("kind", ["sum", "min", "max", "group_sum"])
@pytest.mark.parametrize(("per", "n"), [(1, 2), (2, 3), (6, 8), (24, 24)])
def test_matches_are_those_of_brute_force(kind: str, per: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.attacks.published._BLOCK", 200)
    kwh = homes(12).round(1)
    made = coarse(kwh, per, "sum" if kind == "group_sum" else kind)
    values = made.values.copy()
    values[3, 0] = np.nan
    release = PublishedSeries(values, np.where(STEPS < 20, made.step_of, -1), kind, tolerance=0.05)
    known = known_readings(12, 24, n, "consecutive", seed=n)
    fits = by_hand(release, kwh, known)
    found = link_by_match(release, np.arange(12), kwh, known)
    np.testing.assert_array_equal(found.matches, fits.sum(axis=1))
    np.testing.assert_array_equal(found.included, fits.diagonal())
    np.testing.assert_allclose(found.chance, np.where(fits.diagonal(), 1 / np.maximum(fits.sum(axis=1), 1), 0.0))
    np.testing.assert_array_equal(found.unique, fits.diagonal() & (fits.sum(axis=1) == 1))


def test_raw_records_are_unique_and_totals_are_only_once_they_are_known_whole() -> None:
    kwh = np.random.default_rng(0).gamma(1.0, 0.2, (40, 24))
    one, all_day = known_readings(40, 24, 1), known_readings(40, 24, 24)
    assert link_by_match(coarse(kwh, 1), np.arange(40), kwh, one).unique.all()
    assert not link_by_match(coarse(kwh, 24), np.arange(40), kwh, one).unique.any()
    assert link_by_match(coarse(kwh, 24), np.arange(40), kwh, all_day).unique.all()
    metrics = link_by_match(coarse(kwh, 1), np.arange(40), kwh, one).metrics()
    assert metrics["unique"].value == metrics["chance"].value == 1.0
    # Clopper and Pearson: 0.025^(1/40).
    assert metrics["unique"].low == pytest.approx(0.025 ** (1 / 40))
    assert metrics["chance"].low == pytest.approx(0.025 ** (1 / 40))


@given(hnp.arrays(np.int64, (6, 24), elements=st.integers(0, 5)), st.integers(1, 23), st.integers(0, 9))
def test_more_readings_never_fit_more_records_and_the_own_one_always_fits(tenths, n: int, seed: int) -> None:
    kwh = tenths / 10
    known = known_readings(6, 24, n + 1, seed=seed)
    for release in (coarse(kwh, 1), coarse(kwh, 4), coarse(kwh, 4, "max"), coarse(kwh, 8, "min")):
        more = link_by_match(release, np.arange(6), kwh, known)
        fewer = link_by_match(release, np.arange(6), kwh, known[:, :n])
        assert more.included.all()
        assert (more.matches <= fewer.matches).all()
        rounded = PublishedSeries(release.values, release.step_of, release.kind, tolerance=0.1)
        assert (link_by_match(rounded, np.arange(6), kwh, known).matches >= more.matches).all()


def test_a_class_counts_its_owners_however_it_is_released() -> None:
    """Three households with one record, or with three equal ones: the guess is right once in three."""
    kwh = np.repeat(homes(4), 3, axis=0)
    known = known_readings(12, 24, 3)
    rows = link_by_match(coarse(kwh, 1), np.arange(12), kwh, known)
    classes = link_by_match(coarse(kwh[::3], 1), np.arange(12).reshape(4, 3), kwh, known)
    for found in (rows, classes):
        np.testing.assert_array_equal(found.matches, 3)
        np.testing.assert_allclose(found.chance, 1 / 3)
        assert not found.unique.any()
    ranks = [
        link_by_distance(coarse(kwh, 1), np.arange(12), kwh, known),
        link_by_distance(coarse(kwh[::3], 1), np.arange(12).reshape(4, 3), kwh, known),
    ]
    for ranking in ranks:
        np.testing.assert_allclose(ranking.top(1), 1 / 3)
        np.testing.assert_allclose(ranking.rank(), 2.0)
        assert ranking.n_persons == 12


def test_several_records_of_one_household_are_all_its_own() -> None:
    kwh = homes(10)
    halves = np.full((20, 24), np.nan)
    halves[:10, :12], halves[10:, 12:] = kwh[:, :12], kwh[:, 12:]
    known = known_readings(10, 24, 24)
    found = link_by_match(PublishedSeries(halves, STEPS), np.tile(np.arange(10), 2), kwh, known)
    np.testing.assert_array_equal(found.matches, 2)
    np.testing.assert_allclose(found.chance, 1.0)


def test_several_series_of_the_same_records_are_known_together() -> None:
    kwh = homes(60).round(1)
    known = known_readings(60, 24, 24)
    low, high = coarse(kwh, 24, "min"), coarse(kwh, 24, "max")
    both = link_by_match([low, high], np.arange(60), kwh, known)
    apart = [link_by_match(one, np.arange(60), kwh, known).matches for one in (low, high)]
    assert (both.matches <= np.minimum(*apart)).all()
    assert (both.matches < apart[0]).any()
    assert link_by_distance([low, high], np.arange(60), kwh, known).top(1).mean() >= both.chance.mean() - 1e-12


def test_ranks_are_those_of_brute_force_and_ties_count_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.attacks.published._BLOCK", 100)
    kwh = homes(15)
    noisy = kwh + np.random.default_rng(1).normal(0, 0.1, kwh.shape)
    known = known_readings(15, 24, 5, seed=2)
    found = link_by_distance(PublishedSeries(noisy, STEPS), np.arange(15), kwh, known)
    for c, steps in enumerate(known):
        away = (((noisy - kwh[c]) / noisy.std(axis=0))[:, steps] ** 2).sum(axis=1)
        assert found.nearer[c] == (away < away[c]).sum()
    assert not found.tied.any()
    np.testing.assert_allclose(found.rank(), 1 + found.nearer)
    # All records alike: any rank is as good as another.
    flat = link_by_distance(PublishedSeries(np.ones((15, 24)), STEPS), np.arange(15), kwh, known)
    np.testing.assert_allclose(flat.rank(), 8.0)
    np.testing.assert_allclose(flat.top(10), 10 / 15)
    assert flat.metrics()["relative_rank"].value == pytest.approx(8 / 15)


def test_steps_known_in_part_are_taken_to_be_so_throughout() -> None:
    """A steady home is recognised from one reading in a daily total, and by the mean of a group of its like."""
    kwh = np.repeat(np.linspace(0.1, 2.0, 20)[:, None], 24, axis=1)
    known = known_readings(20, 24, 1)
    assert link_by_distance(coarse(kwh, 24), np.arange(20), kwh, known).top(1).mean() == 1.0
    group = PublishedSeries(kwh.reshape(10, 2, 24).sum(axis=1), STEPS, "group_sum")
    ranking = link_by_distance(group, np.arange(20).reshape(10, 2), kwh, known)
    assert ranking.top(2).mean() == 1.0
    assert ranking.top(1).mean() == 0.5


def test_a_record_of_nobody_is_never_right() -> None:
    kwh = homes(10)
    known = known_readings(10, 24, 4)
    made_up = PublishedSeries(homes(30, seed=5), STEPS)
    found = link_by_match(made_up, np.full(30, -1), kwh, known)
    assert not found.included.any()
    assert not found.chance.any()
    ranking = link_by_distance(made_up, np.full(30, -1), kwh, known)
    assert not ranking.top(10).any()
    assert np.isnan(ranking.rank()).all()
    assert set(ranking.metrics()) == {"top_1", "top_10"}
    assert ranking.metrics()["top_1"][:2] == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["scattered", "consecutive"])
def test_known_steps_are_different_ones_of_each_target(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn.attacks.published._BLOCK", 100)
    known = known_readings(50, 20, 6, kind)
    assert known.shape == (50, 6)
    gaps = np.diff(known, axis=1)
    assert (gaps == 1).all() if kind == "consecutive" else (gaps >= 1).all()
    assert known.min() == 0
    assert known.max() == 19
    np.testing.assert_array_equal(known, known_readings(50, 20, 6, kind))
    np.testing.assert_array_equal(known_readings(3, 7, 7, kind), np.tile(np.arange(7), (3, 1)))


def test_unusable_input_is_refused() -> None:
    kwh, known = homes(5), known_readings(5, 24, 2)
    release, owner = coarse(kwh, 1), np.arange(5)
    with pytest.raises(InputError, match="n: expected at most the 24 steps"):
        known_readings(5, 24, 25)
    with pytest.raises(InputError, match="kind: expected one of consecutive, scattered"):
        known_readings(5, 24, 2, "all")
    with pytest.raises(InputError, match="known: expected steps from 0 to 23"):
        link_by_match(release, owner, kwh, known + 23)
    with pytest.raises(InputError, match="known: expected each step of a target once"):
        link_by_match(release, owner, kwh, np.zeros((5, 2), dtype=int))
    with pytest.raises(InputError, match="known: expected steps as whole numbers"):
        link_by_match(release, owner, kwh, known.astype(float))
    with pytest.raises(InputError, match="known: expected shape"):
        link_by_match(release, owner, kwh, known[1:])
    with pytest.raises(InputError, match="known readings: expected energies of at least 0"):
        link_by_match(release, owner, kwh - 5, known)
    with pytest.raises(InputError, match="known readings: expected finite"):
        link_by_match(release, owner, np.where(kwh < 9, np.nan, kwh), known)
    with pytest.raises(InputError, match="owner: expected shape"):
        link_by_match(release, owner[1:], kwh, known)
    with pytest.raises(InputError, match="owner: expected positions"):
        link_by_distance(release, owner - 2, kwh, known)
    with pytest.raises(InputError, match="kwh: expected the 24 original steps"):
        link_by_match(release, owner, kwh[:, :20], known_readings(5, 20, 2))
    with pytest.raises(InputError, match="release: expected series of the same records"):
        link_by_match([release, coarse(homes(6), 1)], owner, kwh, known)
    with pytest.raises(InputError, match="k: expected"):
        link_by_distance(release, owner, kwh, known).top(0)
    for options, message in (
        ({"kind": "mean"}, r"release\.kind"),
        ({"tolerance": -1.0}, r"release\.tolerance"),
        ({"step_of": STEPS + 1}, r"release\.step_of: expected steps of the 24"),
        ({"step_of": STEPS / 2}, r"release\.step_of: expected a whole number"),
        ({"values": np.empty((0, 24))}, "at least one record"),
    ):
        with pytest.raises(InputError, match=message):
            PublishedSeries(**{"values": kwh, "step_of": STEPS, **options})
