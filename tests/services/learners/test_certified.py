"""Certified forecasters in a registry: Newton steps until the budget is spent, then a retrain."""

from pathlib import Path

import numpy as np
import pytest

import unlearn
from tests.proofs import proof_count
from unlearn.households import simulate_households, spread
from unlearn.households.customers import CustomerLoads
from unlearn.services import (
    CERTIFIED,
    EXACT,
    CertifiedLearner,
    DeletionRequest,
    KeptData,
    create_registry,
    forget,
    plan,
)
from unlearn.services.learners.certified import without_hours
from unlearn.services.registry import ModelRegistry


@pytest.fixture(scope="module")
def homes() -> CustomerLoads:
    meters = unlearn.hourly_meters(simulate_households(30, n_days=40))
    return unlearn.customer_loads(meters, spread(meters.customer_ids, 2))


def registry_of(homes: CustomerLoads, folder: Path, learner: CertifiedLearner) -> ModelRegistry:
    registry = create_registry(folder / "deletions", folder / "key", retention_days=0)
    registry.add_data("data", KeptData(homes))
    registry.train("load", learner)
    return registry


def hour_of(homes: CustomerLoads, row: int) -> DeletionRequest:
    """A request for one hour that no unit of the loads was taken from."""
    return DeletionRequest.flagged([homes.timestamps[row]])


def small_hours(homes: CustomerLoads) -> list[int]:
    peak = homes.load_pu[homes.split.train].argmax(axis=0)
    return [int(row) for row in homes.split.train if row not in homes.split.train[peak]]


def test_steps_until_the_budget_is_spent_then_a_retrain(homes: CustomerLoads, tmp_path: Path) -> None:
    registry = registry_of(homes, tmp_path, CertifiedLearner(sigma=0.005))
    rows = iter(small_hours(homes))
    spent, seen = 0.0, []
    for row in rows:
        before = registry.load("load")
        foreseen = plan(registry, hour_of(homes, row)).models[0].foreseen.route
        done = forget(registry, hour_of(homes, row))
        (model,) = done.evidence["models"]
        assert foreseen is not None
        assert model["method"] == foreseen.method
        head = registry.load("load").head
        seen.append(model["guarantee"])
        if model["guarantee"] == EXACT:
            # The step would have gone beyond what was left, and the new head starts afresh.
            assert before.head.cost_of(np.flatnonzero(before.train == row)) > before.head.remaining_budget
            assert "budget is spent" in model["why"]
            assert head.spent < before.head.spent
            break
        assert model["numbers"]["bound_spent"] <= model["numbers"]["budget"]
        assert head.spent > spent
        spent = head.spent
    assert seen[0] == CERTIFIED
    assert seen[-1] == EXACT


def test_customers_train_anew(homes: CustomerLoads, tmp_path: Path) -> None:
    registry = registry_of(homes, tmp_path, CertifiedLearner(sigma=0.1))
    done = forget(registry, DeletionRequest(customers=("SIM000003",)))
    (model,) = done.evidence["models"]
    assert (model["guarantee"], model["complete"]) == (EXACT, True)
    assert "every hour" in model["why"]
    assert len(registry.load("load").train) == len(homes.split.train)


def test_the_hour_that_a_unit_was_taken_from_trains_anew(homes: CustomerLoads, tmp_path: Path) -> None:
    registry = registry_of(homes, tmp_path, CertifiedLearner(sigma=0.1))
    peak = int(homes.split.train[homes.load_pu[homes.split.train, 0].argmax()])
    done = forget(registry, hour_of(homes, peak))
    (model,) = done.evidence["models"]
    assert model["guarantee"] == EXACT
    assert "units" in model["why"]
    unit = registry.load("load").unit
    left = np.setdiff1d(homes.split.train, [peak])
    np.testing.assert_allclose(unit, homes.load_pu[left].max(axis=0), rtol=1e-12)


def test_hours_that_no_head_holds_change_nothing(homes: CustomerLoads, tmp_path: Path) -> None:
    registry = registry_of(homes, tmp_path, CertifiedLearner(sigma=0.1))
    before = registry.load("load").head.weights
    done = forget(registry, hour_of(homes, int(homes.split.test[0])))
    assert done.evidence["models"][0]["method"] == "nothing to remove"
    np.testing.assert_array_equal(registry.load("load").head.weights, before)


def test_hours_left_out_are_in_no_part_of_the_split(homes: CustomerLoads) -> None:
    random = np.random.default_rng()
    for _ in range(proof_count(200)):
        marks = random.random(homes.load_mw.shape) < 0.01
        kept = without_hours(homes, marks).split
        gone = np.flatnonzero(marks.any(axis=1))
        for part, own in (("train", kept.train), ("core", kept.core), ("sensitive", kept.sensitive)):
            assert set(own) == set(getattr(homes.split, part)) - set(gone)
