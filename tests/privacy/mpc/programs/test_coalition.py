"""What a coalition reduces, against NumPy: of an event, of the peak, and whether it is enough."""

from __future__ import annotations

import numpy as np
import pytest

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import rehearse
from unlearn.privacy.mpc.joint import compute
from unlearn.privacy.mpc.programs.coalition import event_reduction, peak_reduction

pytestmark = pytest.mark.extras

PROGRAM = "unlearn.privacy.mpc.programs.coalition"
EVENT = [1, 2]
LARGEST = 2**31 - 1


def members(days: int, n: int = 4, seed: int = 0) -> dict[str, Payload]:
    """Loads of some days; small numbers, so that peaks tie."""
    rng = np.random.default_rng(seed)
    return {
        f"member {at}": {name: rng.integers(-5, 6, (days, 4)) for name in ("baseline_wh", "actual_wh")}
        for at in range(n)
    }


def joint(inputs: dict[str, Payload]) -> tuple[np.ndarray, np.ndarray]:
    brought = [one for one in inputs.values() if one]
    baseline, actual = (np.sum([one[name] for one in brought], axis=0) for name in ("baseline_wh", "actual_wh"))
    return baseline, actual


def test_a_thousand_random_days() -> None:
    inputs = members(proof_count(1000))
    baseline, actual = joint(inputs)
    event, peak = (baseline - actual)[:, EVENT].sum(axis=1), baseline.max(axis=1) - actual.max(axis=1)
    np.testing.assert_array_equal(rehearse(event_reduction, inputs, {"event": EVENT})["reduction"], event)
    np.testing.assert_array_equal(rehearse(peak_reduction, inputs)["reduction"], peak)
    for limit in (-3, 0, 4):
        reached = rehearse(event_reduction, inputs, {"event": EVENT, "at_least": limit})
        assert set(reached) == {"reached"}
        np.testing.assert_array_equal(reached["reached"], event >= limit)
        np.testing.assert_array_equal(rehearse(peak_reduction, inputs, {"at_least": limit})["reached"], peak >= limit)


@pytest.mark.parametrize(("baseline", "actual"), [(LARGEST, -LARGEST), (-LARGEST, LARGEST), (7, 7), (0, 0)])
def test_extremes_and_equals(baseline: int, actual: int) -> None:
    own = {"baseline_wh": np.full(3, baseline), "actual_wh": np.full(3, actual)}
    inputs, saved = dict.fromkeys("abc", own), 3 * (baseline - actual)
    assert rehearse(event_reduction, inputs, {"event": [0, 1, 2]})["reduction"] == 3 * saved
    assert rehearse(peak_reduction, inputs)["reduction"] == saved
    assert rehearse(peak_reduction, inputs, {"at_least": saved})["reached"] == 1
    if saved < 6 * LARGEST:
        assert rehearse(peak_reduction, inputs, {"at_least": saved + 1})["reached"] == 0


ONE = {"baseline_wh": np.ones(3), "actual_wh": np.zeros(3)}


@pytest.mark.parametrize(
    ("inputs", "public", "kind", "message"),
    [
        (dict.fromkeys("ab", ONE) | {"c": {}}, {}, ProtocolError, "at least 3 parties"),
        ({"a": ONE, "b": ONE, "c": ONE, "d": {"actual_wh": np.ones(3)}}, {}, ProtocolError, "of every party"),
        ({"a": ONE, "b": ONE, "c": dict.fromkeys(ONE, np.ones(4))}, {}, ProtocolError, "one shape"),
        (dict.fromkeys("abc", ONE | {"actual_wh": np.ones((1, 3))}), {}, ProtocolError, "the shape of baseline_wh"),
        (dict.fromkeys("abc", ONE | {"actual_wh": np.full(3, 0.5)}), {}, InputError, "whole numbers"),
        (dict.fromkeys("abc", ONE), {"event": [3]}, InputError, "from 0 to 2"),
        (dict.fromkeys("abc", ONE), {"event": [0, 0]}, InputError, "each once"),
        (dict.fromkeys("abc", ONE), {"event": []}, InputError, "some places"),
        (dict.fromkeys("abc", ONE), {"at_least": 0.5}, InputError, "a whole number of Wh"),
        (dict.fromkeys("abc", ONE), {"at_least": 2**70}, InputError, "within what is possible"),
    ],
)
def test_refusals(inputs: dict, public: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        rehearse(event_reduction, inputs, {"event": [0]} | public)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "public"), [("event_reduction", {"event": EVENT}), ("peak_reduction", {})])
def test_in_processes_the_utility_learns_it_alone(name: str, public: dict) -> None:
    inputs, program = members(3), {"event_reduction": event_reduction, "peak_reduction": peak_reduction}[name]
    for asked in (public, public | {"at_least": 1}):
        learned = compute(f"{PROGRAM}:{name}", inputs | {"utility": {}}, asked | {"to": ["utility"]}).results
        expected = rehearse(program, inputs, asked)
        assert [name for name, one in learned.items() if one] == ["utility"]
        for array, value in expected.items():
            np.testing.assert_array_equal(learned["utility"][array], value)
