"""Counts and totals that open only where enough take part, against sums of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, rehearse
from unlearn.privacy.mpc.joint import compute
from unlearn.privacy.mpc.programs.threshold import exceeding_count, guarded_total, threshold_count

pytestmark = pytest.mark.extras

PROGRAM = "unlearn.privacy.mpc.programs.threshold"


def parts(rng: np.random.Generator, groups: int, sizes: tuple[int, ...] = (1, 3, 1)) -> dict[str, Payload]:
    """Parties with some customers, of whom some take part in each group."""
    return {
        f"party {at}": {
            "taking_part": rng.integers(0, 2, (n, groups)), "values": rng.integers(-(10**6), 10**6, (n, groups, 2)),
        }
        for at, n in enumerate(sizes)
    }  # fmt: skip


def stacked(inputs: dict[str, Payload], array: str) -> np.ndarray:
    return np.concatenate([one[array] for one in inputs.values() if array in one])


def test_random_groups() -> None:
    """All that is told is what enough customers have together."""
    inputs = parts(np.random.default_rng(0), 1000)
    taking, values = stacked(inputs, "taking_part"), stacked(inputs, "values")
    found = rehearse(guarded_total, inputs, {"minimum": 3})
    count = taking.sum(axis=0)
    enough = count >= 3
    assert 0 < enough.sum() < len(enough)
    np.testing.assert_array_equal(found["enough"], enough)
    np.testing.assert_array_equal(found["count"], np.where(enough, count, -1))
    np.testing.assert_array_equal(
        found["total"], np.where(enough[:, None], (taking[:, :, None] * values).sum(axis=0), 0)
    )
    only = {name: {"taking_part": one["taking_part"]} for name, one in inputs.items()}
    counted = rehearse(threshold_count, only, {"minimum": 3})
    np.testing.assert_array_equal(counted["count"], found["count"])


@pytest.mark.parametrize(("present", "told"), [(0, -1), (2, -1), (3, 3), (5, 5)])
def test_one_below_the_minimum_tells_nothing(present: int, told: int) -> None:
    largest = 2**31 - 1
    inputs = {
        f"party {at}": {"taking_part": np.array([[int(at < present)]]), "values": np.full((1, 1, 1), largest)}
        for at in range(5)
    }
    found = rehearse(guarded_total, inputs, {"minimum": 3})
    assert found["count"].tolist() == [told]
    assert found["total"].tolist() == [[present * largest if told >= 0 else 0]]


def test_what_is_opened_of_too_few_is_one_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    reveal = Context.reveal

    async def noted(self: Context, value: object, to: object = None) -> object:
        found = await reveal(self, value, to)
        opened.append(np.asarray(found).tolist())
        return found

    monkeypatch.setattr(Context, "reveal", noted)
    inputs = parts(np.random.default_rng(1), 1, (2, 2, 2))
    rehearse(guarded_total, inputs, {"minimum": 7})
    assert opened == [[0]]


@pytest.mark.parametrize("limit", [0, 3, -(2**31) + 1, 2**31 - 1])
def test_values_above_a_secret_limit(limit: int) -> None:
    rng = np.random.default_rng(2)
    values = {f"party {at}": {"values": rng.integers(-5, 6, (4, 20))} for at in range(3)}
    values["party 0"]["values"][0] = limit  # equal is not above
    found = rehearse(exceeding_count, values | {"grid": {"limit": np.full(20, limit)}}, {"minimum": 5})
    count = (stacked(values, "values") > limit).sum(axis=0)
    np.testing.assert_array_equal(found["count"], np.where(count >= 5, count, -1))


ONE = {"taking_part": np.ones((1, 1)), "values": np.ones((1, 1, 1))}


@pytest.mark.parametrize(
    ("inputs", "public", "kind", "message"),
    [
        (dict.fromkeys("abc", ONE), {"minimum": 2}, InputError, "at least 3, got 2"),
        (dict.fromkeys("abc", ONE), {}, InputError, "minimum"),
        (dict.fromkeys("ab", ONE) | {"c": {}}, {"minimum": 1, "to": ["c"]}, InputError, "at least 2, got 1"),
        (
            dict.fromkeys("abc", ONE) | {"c": {"taking_part": np.ones((1, 1))}},
            {"minimum": 3},
            ProtocolError,
            "of every",
        ),
        (dict.fromkeys("abc", ONE | {"taking_part": np.full((1, 1), 2)}), {"minimum": 3}, InputError, "from 0 to 1"),
        (dict.fromkeys("abc", ONE | {"taking_part": np.ones((1, 2))}), {"minimum": 3}, ProtocolError, "fits taking"),
        (
            {"a": ONE, "b": ONE, "c": ONE | {"taking_part": np.ones((1, 2))}},
            {"minimum": 3},
            ProtocolError,
            "one number",
        ),
        ({"a": {}}, {"minimum": 3}, ProtocolError, "got none"),
    ],
)
def test_refusals(inputs: dict, public: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        rehearse(guarded_total, inputs, public)


def test_a_total_of_two_goes_to_somebody_else() -> None:
    """Each of the two would learn the other's values."""
    found = rehearse(guarded_total, {"a": ONE, "b": ONE, "grid": {}}, {"minimum": 2, "to": ["grid"]})
    assert found["total"].tolist() == [[2]]


def test_a_limit_comes_of_one_party() -> None:
    inputs = {name: {"values": np.ones((1, 1)), "limit": np.ones(1)} for name in "abc"}
    with pytest.raises(ProtocolError, match="exactly one party"):
        rehearse(exceeding_count, inputs, {"minimum": 2})


@pytest.mark.slow
def test_in_processes_only_receivers_learn() -> None:
    inputs = parts(np.random.default_rng(3), 12, (3, 3, 3))
    outcome = compute(f"{PROGRAM}:guarded_total", inputs | {"grid": {}}, {"minimum": 4, "to": ["grid"]})
    expected = rehearse(guarded_total, inputs | {"grid": {}}, {"minimum": 4, "to": ["grid"]})
    for name, learned in outcome.results.items():
        assert set(learned) == ({"enough", "count", "total"} if name == "grid" else {"enough"})
        for array, value in learned.items():
            np.testing.assert_array_equal(value, expected[array])


@pytest.mark.slow
def test_limits_in_processes() -> None:
    inputs = {name: {"values": np.arange(8).reshape(4, 2)} for name in "ab"} | {"grid": {"limit": np.array([3, 6])}}
    for learned in compute(f"{PROGRAM}:exceeding_count", inputs, {"minimum": 3}).results.values():
        assert learned["count"].tolist() == [4, -1]
