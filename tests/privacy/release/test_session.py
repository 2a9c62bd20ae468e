"""A release: what it refuses before data are read, what it charges, and what its answers are worth."""

import math
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unlearn.dp import SimulatedNoise, noise_source
from unlearn.errors import BudgetError, DataError, InputError, MismatchError, MissingPackageError
from unlearn.households import Meters, hourly_meters, simulate_households
from unlearn.privacy.release import (
    Budget,
    Contribution,
    Count,
    Histogram,
    LoadCurve,
    Mean,
    Peak,
    PrivateRelease,
    Quantile,
    Sum,
    View,
    bounded_steps,
)

BOUNDS = Contribution("household", kwh_per_hour=3.0, kwh_per_day=30.0)


@pytest.fixture(scope="module")
def profiles() -> Any:
    return simulate_households(40, n_days=8)


@pytest.fixture(scope="module")
def meters(profiles: Any) -> Meters:
    return hourly_meters(profiles)


@pytest.fixture
def unread(meters: Meters, monkeypatch: pytest.MonkeyPatch) -> Meters:
    """Meters whose readings nobody may touch."""

    def refused(*_: object) -> None:
        raise AssertionError("data were read")

    for name in ("blocks", "series", "_read"):
        monkeypatch.setattr(Meters, name, refused)
    return meters


def release_of(meters: Meters, budget: Budget | None = None, seed: int = 0, **more: Any) -> PrivateRelease:
    return PrivateRelease(meters, BOUNDS, budget or Budget(10.0), noise=SimulatedNoise(seed), **more)


def halves(meters: Meters) -> dict[str, str]:
    return {own: "even" if i % 2 == 0 else "odd" for i, own in enumerate(meters.customer_ids)}


def test_answers_have_cells_intervals_and_costs(meters: Meters) -> None:
    release = release_of(meters, groups=halves(meters), group_names=["odd", "even", "nobody"])
    answer = release.answer(LoadCurve(), epsilon=2.0, start="2013-01-02", end="2013-01-04")
    assert len(answer.values) == len(answer.cells) == 3 * 48
    assert answer.cells["group"].unique().tolist() == ["odd", "even", "nobody"]
    assert answer.noise_scale == pytest.approx(2 * 30.0 / 2.0, rel=1e-9)  # two days of 30 kWh
    assert (answer.epsilon, answer.delta, answer.rho) == (2.0, 0.0, 2.0)
    assert (answer.noise, answer.source, answer.level) == ("discrete_laplace", "simulated", "household")
    assert ((answer.low < answer.values) & (answer.values < answer.high)).all()
    table = answer.to_frame()
    assert table["query"].unique().tolist() == ["load_curve"]
    assert table["unit"].unique().tolist() == ["kwh"]
    assert release.answers[0] is answer
    assert "1 answers, epsilon = 2 of 10" in repr(release)


def test_with_little_noise_answers_are_exact(meters: Meters) -> None:
    release = release_of(meters, Budget(1e12), groups=halves(meters))
    view = View(meters.hours, release.groups)
    kwh = bounded_steps(meters.series(np.arange(len(meters))), BOUNDS, view) * 2.0**-20
    even, odd = kwh[::2], kwh[1::2]
    tiny = {"epsilon": 1e10}
    np.testing.assert_allclose(release.answer(Sum(), **tiny).values, [even.sum(), odd.sum()], atol=1e-3)
    curve = release.answer(LoadCurve(), **tiny).values.reshape(2, -1)
    np.testing.assert_allclose(curve, [even.sum(axis=0), odd.sum(axis=0)], atol=1e-3)
    np.testing.assert_allclose(release.answer(Peak(), **tiny).values, curve.max(axis=1), atol=2e-3)
    days = kwh.reshape(len(kwh), -1, 24).sum(axis=2)
    mean = release.answer(Mean(), **tiny).values
    np.testing.assert_allclose(mean, [days[::2].mean(), days[1::2].mean()], atol=1e-3)
    above = release.answer(Count("mean_day", 10.0), **tiny).values
    assert above.tolist() == [(days[i::2].mean(axis=1) > 10).sum() for i in (0, 1)]
    bins = release.answer(Histogram((0.2, 1.0)), **tiny).values.reshape(2, -1)
    assert bins.sum(axis=1).tolist() == [(own > 0).sum() for own in (even, odd)]
    candidates = tuple(np.arange(1.0, 30.0))
    median = release.answer(Quantile(candidates), **tiny).values
    exact = [np.quantile(days[i::2].mean(axis=1), 0.5, method="inverted_cdf") for i in (0, 1)]
    np.testing.assert_allclose(median, exact, atol=1.5)  # between candidates; half of 20 is on both sides of the 10th


def test_intervals_cover_as_often_as_they_say(meters: Meters) -> None:
    exact = release_of(meters, Budget(1e12)).answer(LoadCurve(), epsilon=1e11).values
    held = []
    for mechanism, cost in (("discrete_laplace", {"epsilon": 0.5}), ("discrete_gaussian", {"rho": 0.1})):
        release = release_of(meters, Budget(1e3, 1e-6, "zcdp"), confidence=0.8)
        answer = release.answer(LoadCurve(), mechanism=mechanism, **cost)
        held.append(np.mean((answer.low <= exact) & (exact <= answer.high)))
    # 192 independent values from a fixed seed.
    assert held == pytest.approx([0.8, 0.8], abs=0.12)


def test_each_question_is_answered_once_whatever_it_costs(meters: Meters) -> None:
    release = release_of(meters, Budget(10.0, 1e-6, "zcdp"))
    first = release.answer(Count("peak", 1), epsilon=0.1)
    for again in ({"epsilon": 0.1}, {"epsilon": 0.2}, {"rho": 0.01}, {"epsilon": 0.1, "start": meters.hours[0]}):
        with pytest.raises(InputError, match=r"answered before \(answer 0\): take it again with release\.answers\[0\]"):
            release.answer(Count("peak", 1.0), **again)
    assert release.spent().answers == 1
    assert release.answers == {0: first}
    release.answer(Count("peak", 2.0), epsilon=0.1)
    release.answer(Count("peak", 1.0), epsilon=0.1, end="2013-01-03")


def test_an_exhausted_budget_refuses_before_data_are_read(unread: Meters) -> None:
    release = release_of(unread, Budget(1.0))
    with pytest.raises(BudgetError, match="cost at most epsilon = 1"):
        release.answer(Sum(), epsilon=1.5)
    assert release.spent() == (0.0, 0.0, 0.0, 0)


@dataclass(frozen=True)
class Broken(Sum):
    """A query that fails on data."""

    def summed(self, steps: Any, group: Any, view: Any) -> Any:
        raise ZeroDivisionError


def test_charges_are_made_before_data_are_read_and_stay(meters: Meters) -> None:
    release = release_of(meters, Budget(1.0))
    for answers in (1, 2):
        with pytest.raises(ZeroDivisionError):
            release.answer(Broken(), epsilon=0.4)
        assert release.spent()[0::3] == (pytest.approx(0.4 * answers), answers)
    with pytest.raises(BudgetError):
        release.answer(Broken(), epsilon=0.4)
    assert release.answers == {}


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan, "1", None, True])
def test_costs_that_promise_nothing_are_refused(unread: Meters, bad: Any) -> None:
    with pytest.raises(InputError, match="epsilon"):
        release_of(unread).answer(Sum(), epsilon=bad)


def test_other_refusals_before_data_are_read(unread: Meters) -> None:
    release = release_of(unread)
    for message, call in {
        "either epsilon= or rho=": lambda: release.answer(Sum(), epsilon=1.0, rho=1.0),
        "Pass rho=, or mechanism='discrete_laplace'": lambda: release.answer(Sum(), epsilon=1.0, mechanism="gaussian"),
        "composition='zcdp'": lambda: release.answer(Sum(), rho=0.1),
        "Did you mean 'laplace'": lambda: release.answer(Sum(), epsilon=1.0, mechanism="laplac"),
        "such as Sum": lambda: release.answer(Sum, epsilon=1.0),  # type: ignore[arg-type]
        "methods of Query": lambda: release.answer("sum", epsilon=1.0),  # type: ignore[arg-type]
        "no row between": lambda: release.answer(Sum(), epsilon=1.0, start="2020-01-01", end="2020-01-02"),
        "edges_kwh": lambda: release.answer(Histogram(), epsilon=1.0),
        "candidates_kwh": lambda: release.answer(Quantile(), epsilon=1.0),
        "no noise would hide it": lambda: PrivateRelease(unread, budget=Budget(1.0), noise=SimulatedNoise(0)),
        "expected a Budget": lambda: PrivateRelease(unread, BOUNDS, noise=SimulatedNoise(0)),
        "made for other data": lambda: PrivateRelease(
            unread, BOUNDS, Budget(1.0), noise=noise_source(SimulatedNoise(0), unread)
        ),
        "confidence": lambda: release_of(unread, confidence=1.0),
        "got none for some": lambda: release_of(unread, groups={unread.customer_ids[0]: "a"}),
        "got others: b": lambda: release_of(unread, groups=dict.fromkeys(unread.customer_ids, "b"), group_names=["a"]),
        "Pass groups=": lambda: release_of(unread, group_names=["a"]),
        "by name": lambda: release_of(unread, groups=["a"]),
        "64 bits": lambda: PrivateRelease(
            unread, Contribution("household", 1e6), Budget(1.0), noise=SimulatedNoise(0)
        ).answer(Sum(), epsilon=1.0),
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert not any(own in str(caught.value) for own in unread.customer_ids)
    assert release.spent().answers == 0


def test_seeds_are_for_simulated_meters(meters: Meters, profiles: Any, tmp_path: Path) -> None:
    assert meters.simulated
    assert meters.take(np.arange(3)).simulated
    filed = hourly_meters(profiles, tmp_path / "meters.parquet")
    hours = pd.date_range("2013-01-01", periods=48, freq="h")
    table = hourly_meters(pd.DataFrame(np.ones((48, 2)), index=hours, columns=["a", "b"]))
    for real in (filed, table):
        assert not real.simulated
        with pytest.raises(InputError, match='Pass noise="os"'):
            release_of(real)


def test_noise_for_real_meters_needs_opendp(meters: Meters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opendp", None)
    with pytest.raises(MissingPackageError, match=r"unlearn\[release\]"):
        PrivateRelease(meters, BOUNDS, Budget(1.0))


def test_a_log_goes_on_in_another_process(meters: Meters, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "answers.jsonl"
    budget = Budget(1.0, 1e-6, "zcdp")
    one = release_of(meters, budget, log=path)
    one.answer(Sum(), rho=0.001)
    two = release_of(meters, budget, log=path)
    assert two.spent() == one.spent()
    with pytest.raises(InputError, match="or where you have kept it"):
        two.answer(Sum(), epsilon=0.1)
    two.answer(Peak(), epsilon=0.1)
    assert list(two.answers) == [1]
    assert one.spent().answers == 2
    assert one.spent().rho == pytest.approx(0.006)
    with pytest.raises(BudgetError):
        one.answer(Mean(), epsilon=0.95)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    text = path.read_text()
    assert not any(own in text for own in meters.customer_ids)
    with pytest.raises(MismatchError, match="another budget"):
        release_of(meters, Budget(5.0), log=path)
    path.write_text(text.replace('"rho": 0.001', '"rho": 0.000'))
    with pytest.raises(DataError, match="damaged"):
        one.spent()
    with pytest.raises(DataError, match="damaged"):
        one.answer(Mean(), epsilon=0.01)


def test_a_killed_answer_stays_charged_in_the_log(meters: Meters, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with pytest.raises(ZeroDivisionError):
        release_of(meters, log=path).answer(Broken(), epsilon=1.0)
    again = release_of(meters, log=path)
    assert again.spent().epsilon == 1.0
    with pytest.raises(ZeroDivisionError):  # it may be asked again, at its cost
        again.answer(Broken(), epsilon=1.0)
    assert again.spent().epsilon == 2.0


def test_a_log_that_cannot_be_written_refuses(unread: Meters, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((InputError, OSError), match="file"):
        release_of(unread, log=tmp_path / "file" / "answers.jsonl").answer(Sum(), epsilon=0.1)


@pytest.mark.parametrize("level", ["event", "day", "household"])
@pytest.mark.parametrize("query", [Peak(), Sum(), LoadCurve(), LoadCurve("D")], ids=lambda own: own.name)
def test_errors_and_epsilons_are_each_others_inverse(unread: Meters, query: Any, level: str) -> None:
    release = PrivateRelease(unread, replace(BOUNDS, level=level), Budget(1.0), noise=SimulatedNoise(0))
    epsilon = release.epsilon_for(query, within=0.05, of_kwh=400.0)
    error = release.error_for(query, epsilon)
    assert error <= 20.0
    assert error == pytest.approx(20.0, rel=1e-4)
    assert release.epsilon_for(query, within=0.05, of_kwh=400.0, confidence=0.99) > epsilon
    assert release.error_for(query, epsilon, confidence=0.99) > error
    assert release.error_for(query, 2 * epsilon) < error
    assert release.spent().answers == 0


def test_a_peak_is_within_its_error_as_often_as_asked(meters: Meters) -> None:
    exact = release_of(meters, Budget(1e12)).answer(Peak(), epsilon=1e11).values[0]
    epsilon = release_of(meters).epsilon_for(Peak(), within=0.05, of_kwh=exact, confidence=0.9)
    off = [
        release_of(meters, Budget(1e3), seed).answer(Peak(), epsilon=epsilon).values[0] - exact for seed in range(80)
    ]
    assert 0.75 < np.mean(np.abs(off) <= 0.05 * exact) < 1.0


def test_relative_errors_need_a_public_reference(unread: Meters) -> None:
    release = release_of(unread)
    for query, message, given in (
        (Peak(), "got neither", {}),
        (Peak(), "of_kwh: expected a public reference", {"of_count": 5.0}),
        (Count(), "of_count: expected a public reference", {"of_kwh": 5.0}),
        (Peak(), "got of_kwh, pilot_epsilon", {"of_kwh": 5.0, "pilot_epsilon": 0.1}),
        (Peak(), "of_kwh: expected a number above 0", {"of_kwh": -5.0}),
        (Mean(), "depends on the data", {"of_kwh": 5.0}),
        (Quantile((1.0, 2.0)), "depends on the data", {"of_kwh": 5.0}),
    ):
        with pytest.raises(InputError, match=message):
            release.epsilon_for(query, 0.05, **given)
    with pytest.raises(InputError, match="within"):
        release.epsilon_for(Peak(), 0.0, of_kwh=5.0)
    assert release.epsilon_for(Count(), 0.05, of_count=100.0) < 1


def test_a_pilot_is_charged_and_leaves_the_question_open(meters: Meters) -> None:
    exact = release_of(meters, Budget(1e12)).answer(Sum(), epsilon=1e11).values[0]
    release = release_of(meters, Budget(100.0))
    epsilon = release.epsilon_for(Sum(), within=0.05, pilot_epsilon=2.0)
    assert release.spent().epsilon == 2.0
    assert release.error_for(Sum(), epsilon) <= 0.05 * exact
    release.answer(Sum(), epsilon=epsilon)
    with pytest.raises(InputError, match="answered before"):
        release.epsilon_for(Sum(), within=0.05, pilot_epsilon=3.0)
    with pytest.raises(InputError, match="reaches below"):
        release.epsilon_for(Peak(), within=0.05, pilot_epsilon=1e-3)


@pytest.mark.extras
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian", "discrete_laplace", "discrete_gaussian"])
@pytest.mark.parametrize("level", ["event", "day", "household"])
def test_opendp_answers_every_query(meters: Meters, mechanism: str, level: str) -> None:
    cost = {"epsilon": 1.0} if "laplace" in mechanism else {"rho": 0.5}
    release = PrivateRelease(meters, replace(BOUNDS, level=level), Budget(1e4, 1e-6, "zcdp"), groups=halves(meters))
    view = View(meters.hours, release.groups)
    queries = [
        Sum(), LoadCurve(), LoadCurve("D"), Peak(), Mean(), Mean("household"), Count(), Count("day", 5.0),
        Histogram((0.2, 1.0)), Quantile((5.0, 10.0, 20.0)),
    ]  # fmt: skip
    for query in queries:
        answer = release.answer(query, mechanism=mechanism, **cost)
        assert answer.source == "opendp"
        assert len(answer.values) == len(answer.cells)
        assert ((answer.low <= answer.values) & (answer.values <= answer.high)).all()
        if query.plain:
            moves = query.sensitivity(release.contribution, view)
            formula = moves.l1 / 1.0 if "laplace" in mechanism else moves.l2 / math.sqrt(2 * 0.5)
            assert answer.noise_scale == pytest.approx(formula * query.step, rel=1e-9)
            assert answer.noise == mechanism
    assert release.spent().answers == len(queries)
