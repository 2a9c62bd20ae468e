"""Who had the higher average: against fractions of Python, with ties, extremes and unequal numbers of intervals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import rehearse
from unlearn.privacy.mpc.joint import compute
from unlearn.privacy.mpc.programs.comparison import highest_average

pytestmark = pytest.mark.extras

PROGRAM = "unlearn.privacy.mpc.programs.comparison:highest_average"


def of(rows: dict[str, object]) -> dict[str, Payload]:
    return {name: {"energy_wh": np.array(row)} for name, row in rows.items()}


@pytest.mark.parametrize("n_parties", [2, 3, 5])
def test_random_days(n_parties: int) -> None:
    """As exact fractions say; a third of the days has ties on purpose."""
    days = 1000
    rng = np.random.default_rng(n_parties)
    rows = [rng.integers(-3, 4, (days, 2 + at % 3)) for at in range(n_parties)]
    for row in rows:
        row[: days // 3] = row[: days // 3, :1]  # averages are then small whole numbers
    found = rehearse(highest_average, of({f"party {at}": row for at, row in enumerate(rows)}))["winner"]
    for day in range(days):
        averages = [Fraction(int(row[day].sum()), row.shape[1]) for row in rows]
        assert found[day] == averages.index(max(averages))


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ([7, 7], [7, 7], 0), ([0], [0, 0, 0], 0), ([2**31 - 1], [2**31 - 2], 0), ([-(2**31) + 1], [2**31 - 1] * 3, 1),
        ([-1], [0], 1), ([1, 0, 0], [1, 0, 0, 0], 0), ([1, 0, 0, 0], [1, 0, 0], 1),
    ],
)  # fmt: skip
def test_worst_cases(first: list[int], second: list[int], winner: int) -> None:
    assert rehearse(highest_average, of({"a": first, "b": second}))["winner"] == winner


def test_all_equal_gives_the_first() -> None:
    assert rehearse(highest_average, of({name: [5, 5] for name in "abcde"}) | {"helper": {}})["winner"] == 0


def test_hours_make_half_hours_and_hours_comparable() -> None:
    """48 half-hours of 1 Wh are 2 W on average, 24 hours of 1 Wh are 1 W."""
    inputs = of({"hourly": [1] * 24, "half-hourly": [1] * 48})
    assert rehearse(highest_average, inputs)["winner"] == 0
    assert rehearse(highest_average, inputs, {"hours": {"hourly": 24, "half-hourly": 24}})["winner"] == 1


@pytest.mark.parametrize(
    ("rows", "public", "kind", "message"),
    [
        ({"a": [1.5], "b": [1]}, {}, InputError, "whole numbers from"),
        ({"a": [4711], "b": [1]}, {"largest": 10}, InputError, "whole numbers from -10 to 10"),
        ({"a": [4711], "b": [1]}, {"largest": 2**60}, InputError, "less than 2"),
        ({"a": [1]}, {}, ProtocolError, "at least 2 parties"),
        ({"a": [1], "b": [[1]]}, {}, ProtocolError, "one or several days"),
        ({"a": [[1]], "b": [[1], [1]]}, {}, ProtocolError, "one or several days"),
        ({"a": [1], "b": [1]}, {"hours": {"a": 1}}, ProtocolError, "a whole number above 0"),
        ({"a": [1], "b": [1]}, {"to": ["c"]}, InputError, "some of a, b"),
    ],
)
def test_refusals(rows: dict, public: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as told:
        rehearse(highest_average, of(rows), public)
    assert "4711" not in str(told.value)


@pytest.mark.slow
def test_two_utilities_and_a_helper_in_processes() -> None:
    day = np.random.default_rng(0).integers(0, 10**6, (2, 48))
    outcome = compute(PROGRAM, of({"a": day[0], "b": day[1]}) | {"helper": {}}, {"to": ["a", "b"]})
    winner = int(day[1].sum() > day[0].sum())
    assert {name: dict(learned) for name, learned in outcome.results.items()} == {
        "a": {"winner": winner}, "b": {"winner": winner}, "helper": {},
    }  # fmt: skip
