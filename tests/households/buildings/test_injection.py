import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.detectors.builders import daily_series
from unlearn.errors import InputError
from unlearn.households.buildings import NO_KIND
from unlearn.households.injection import inject
from unlearn.households.io.sources import KINDS, InjectionOptions


def events(kind: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of hours of one kind in a building: first hour, end, kind."""
    edges = np.flatnonzero(np.diff(kind, prepend=NO_KIND, append=NO_KIND))
    return [(a, b, int(kind[a])) for a, b in itertools.pairwise(edges) if kind[a] != NO_KIND]


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 2**32 - 1))
def test_labels_are_exactly_the_hours_that_changed(kind: str, seed: int) -> None:
    clean = daily_series(3, 60, seed=1)
    clean.kwh[1, 100:110] = np.nan
    clean.kwh[2, 200:260] = 0.0
    try:
        found = inject(clean, InjectionOptions(0.2, (kind,)), seed)
    except InputError as error:
        # Kinds of two weeks, drawn more often than there is room for: one seed in some hundreds.
        assume("expected room for anomalies" not in str(error))
        raise
    changed = (found.kwh != clean.kwh) & np.isfinite(clean.kwh)
    np.testing.assert_array_equal(found.anomaly, changed)
    np.testing.assert_array_equal(found.kind, np.where(changed, 0, NO_KIND))
    np.testing.assert_array_equal(np.isnan(found.kwh), np.isnan(clean.kwh))
    np.testing.assert_array_equal(found.kwh[~changed], clean.kwh[~changed])
    again = inject(clean, InjectionOptions(0.2, (kind,)), seed)
    assert again.fingerprint == found.fingerprint


def test_each_kind_is_what_its_description_says() -> None:
    clean = daily_series(30, 60, seed=2)
    for kind, (shortest, longest) in KINDS.items():
        found = inject(clean, InjectionOptions(0.2, (kind,)), seed=3)
        seen = 0
        for m in range(len(clean)):
            high = np.quantile(clean.kwh[m], 0.95)
            for start, end, _ in events(found.kind[m]):
                x, y = clean.kwh[m, start:end], found.kwh[m, start:end]
                seen += 1
                assert end - start <= longest
                if kind == "spike":
                    assert ((y - x > 1.49 * high) & (y - x < 4.01 * high)).all()
                    np.testing.assert_allclose(y - x, (y - x)[0])
                elif kind == "dropout":
                    assert (y == 0).all()
                    assert end - start >= shortest
                elif kind == "stuck":
                    np.testing.assert_array_equal(y, clean.kwh[m, start - 1])
                elif kind == "shift":
                    late = [k for k in range(4, 13) if np.array_equal(y, clean.kwh[m, start - k : end - k])]
                    assert len(late) == 1
                elif kind == "theft":
                    kept = y / x
                    assert (np.diff(kept) < 0).all()
                    assert 0.09 < kept[-1] < 0.61
                    assert kept[0] > 0.98
                    np.testing.assert_allclose(np.diff(kept), kept[1] - kept[0], rtol=1e-6)
                elif kind == "level_shift":
                    assert ((y - x > 0.29 * high) & (y - x < 0.81 * high)).all()
                    np.testing.assert_allclose(y - x, (y - x)[0])
                else:
                    of_day = np.arange(start, end) % 24
                    assert ((of_day >= 22) | (of_day < 6)).all()
                    assert (y <= 0.2 * x).all()
        assert seen > 9, kind


def test_the_share_and_the_kinds_are_those_asked_for() -> None:
    clean = daily_series(100, 365)
    found = inject(clean, InjectionOptions(0.08), seed=0)
    # Hours of events; of a bypass only the nights, 8 of 24 hours, are labelled.
    hours = np.array([(found.kind == code).sum() for code in range(len(found.kinds))], dtype=float)
    hours[found.kinds.index("night_bypass")] *= 3
    share = hours / found.kwh.size
    # Events last up to 504 hours: 100 buildings give the total to about 4 % (one standard deviation), theft to 16 %.
    assert share.sum() == pytest.approx(0.08, rel=0.15)
    assert (share > 0.5 * 0.08 / 7).all()
    assert (share < 1.5 * 0.08 / 7).all()


def test_a_building_does_not_depend_on_those_after_it() -> None:
    clean = daily_series(4, 60)
    whole, part = inject(clean, seed=5), inject(clean.take([0, 1]), seed=5)
    np.testing.assert_array_equal(whole.kwh[:2], part.kwh)


def test_unusable_settings_are_refused() -> None:
    clean = daily_series(2, 20)
    with pytest.raises(InputError, match=r"in 0\.99 of 480 hours, found none for a dropout"):
        inject(clean, InjectionOptions(0.99, ("dropout",)))
    with pytest.raises(InputError, match="at least 1008 hours to inject events of up to 504 hours, got 480"):
        inject(clean)
    with pytest.raises(InputError, match="without labels"):
        inject(inject(clean, InjectionOptions(0.1, ("spike",))))
    with pytest.raises(InputError, match="expected one of dropout, level_shift"):
        InjectionOptions(kinds=("spikes",))
    with pytest.raises(InputError, match="at least one, each once"):
        InjectionOptions(kinds=("spike", "spike"))
    with pytest.raises(InputError, match="share"):
        InjectionOptions(share=0)
