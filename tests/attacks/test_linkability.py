"""Linkability: known releases, the chance of guessing, and what is refused."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from tests.attacks.mixed import people
from unlearn.attacks import linkability_risk
from unlearn.attacks.linkability import _shared
from unlearn.errors import InputError

FIRST, SECOND = ["level", "area", "solar"], ["peak", "night", "floor"]


def test_a_copy_links_everybody_and_independent_records_nobody() -> None:
    mine, control = people(200, 0), people(200, 1)
    copy = linkability_risk(mine, mine, control, FIRST, SECOND)
    assert copy.attack.value > 0.98
    assert copy.risk.low > 0.9
    other = linkability_risk(people(200, 2), mine, control, FIRST, SECOND)
    assert other.risk.low == 0.0
    assert other.risk.value < 0.1


def test_what_columns_have_in_common_links_controls_as_well() -> None:
    """Peak follows level: who is near by one is near by the other, in the release or not."""
    mine, control = people(200, 0), people(200, 1)
    found = linkability_risk(people(200, 2), mine, control, ["level"], ["peak"], n_neighbours=3)
    assert found.attack.low > found.baseline.high
    assert found.control.low > found.baseline.high
    assert found.risk.low == 0.0


def test_guessing_is_the_chance_of_a_record_in_common() -> None:
    mine = people(50, 0)
    for k in (1, 4, 30):
        found = linkability_risk(mine, mine, mine[:20], FIRST, SECOND, n_neighbours=k, n_attacks=40)
        assert found.n_attacks == 40
        assert found.n_control == 20
        z = 1.959964
        chance = 1 - hypergeom.pmf(0, 50, k, k)
        assert found.baseline.value == pytest.approx((40 * chance + z**2 / 2) / (40 + z**2), rel=1e-6)


def test_records_in_common_by_hand() -> None:
    first, second = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[2, 9], [5, 6], [6, 0]])
    np.testing.assert_array_equal(_shared(first, second), [True, False, True])


def test_unusable_input_is_refused() -> None:
    frame = people(5, 0)
    with pytest.raises(InputError, match="first, second: expected no column in both, got level"):
        linkability_risk(frame, frame, frame, FIRST, ["level"])
    with pytest.raises(InputError, match="n_neighbours: expected at most the 5 released records, got 6"):
        linkability_risk(frame, frame, frame, FIRST, SECOND, n_neighbours=6)
    with pytest.raises(InputError, match="second: expected columns among"):
        linkability_risk(frame, frame, frame, FIRST, ["income"])
