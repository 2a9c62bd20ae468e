"""The audit of removed examples, on models that keep copies and models that know nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.households.customer_data import loads
from unlearn.detectors import Windows, WindowScores
from unlearn.households import CustomerLoads
from unlearn.services.learners.learnable import daily_profiles, of_customers
from unlearn.services.learners.removed_examples import audit_profiles, audit_windows
from unlearn.services.learners.retrained import DetectorLearner

GONE = ["c004", "c011", "c012"]


@pytest.fixture(scope="module")
def data() -> CustomerLoads:
    return loads()


def copier(profiles: Any) -> Any:
    """A generator that releases its training days."""
    return SimpleNamespace(sample=lambda n, seed=0: profiles)


def chance(found: dict[str, float | None], name: str) -> None:
    value, low, high = (found[f"audit_auc_{name}{end}"] for end in ("", "_low", "_high"))
    assert value is not None
    assert low is not None
    assert high is not None
    assert low <= value <= high
    assert low < 0.5 < high


def test_copies_are_found_before_and_none_after(data: CustomerLoads) -> None:
    before = daily_profiles(data, data.split.train)
    unseen = daily_profiles(data, np.concatenate([data.split.validation, data.split.test]))
    after = of_customers(before, ~np.isin(before.households["household_id"].to_numpy(), GONE))
    found = audit_profiles(copier(before), copier(after), [before], [after], unseen, seed=0)
    assert found["audit_auc_before"] == 1.0
    assert found["nearest_before_kwh"] == 0.0
    chance(found, "after")
    assert found["nearest_after_kwh"]
    assert found["nearest_unseen_kwh"]
    # Some days of one customer alone, each a record of its own.
    after = before.take(~((before.household == 4) & (before.date < before.days[5])))
    found = audit_profiles(copier(before), copier(after), [before], [after], unseen, seed=0)
    assert found["audit_auc_before"] == 1.0
    assert found["audit_auc_after_high"] is not None
    assert found["audit_auc_after_high"] < 1


def windows(data: CustomerLoads, rows: np.ndarray) -> Windows:
    found = DetectorLearner(length=24, stride=24, least_hours=48).windows(data, rows)
    assert found is not None
    return found


def detector(known: np.ndarray) -> Any:
    """A detector that scores a window by its distance to the nearest of those that it knows."""

    def score(given: Windows) -> WindowScores:
        near = np.abs(given.values[:, None] - known).sum(axis=2).min(axis=1)
        return WindowScores(near, np.tile(near[:, None], (1, given.length)))

    return SimpleNamespace(score=score)


def test_windows_that_a_detector_knows_score_low_until_it_forgets_them(data: CustomerLoads) -> None:
    before, unseen = windows(data, data.split.train), windows(data, data.split.test)
    after = before.take(~np.isin(np.array(before.series.series.buildings)[before.building], GONE))
    models = [detector(part.values) for part in (before, after)]
    found = audit_windows(models[0], models[1], [before], [after], unseen, seed=0)
    assert found["audit_auc_before"] == 1.0
    assert found["score_before"] == 0.0
    chance(found, "after")
    assert found["score_after"]
    assert found["score_unseen"]


def test_nothing_to_compare_with_gives_no_numbers(data: CustomerLoads) -> None:
    before = windows(data, data.split.train)
    after = before.take(before.building != 4)
    model = detector(before.values)
    found = audit_windows(model, model, [before], [after], None, seed=0)
    assert found["audit_auc_before"] is found["audit_auc_after_high"] is found["score_unseen"] is None
    assert found["score_before"] == 0.0
    profiles = daily_profiles(data, data.split.train)
    fewer = profiles.take(profiles.household != 4)
    none = daily_profiles(data, np.zeros(0, dtype=int))
    days = audit_profiles(copier(profiles), copier(fewer), [profiles], [fewer], none, seed=0)
    assert days["audit_auc_before"] is days["nearest_unseen_kwh"] is None
    assert days["nearest_before_kwh"] == 0.0
