"""Histories of an audit: copies among the removed rows, models fitted on their training sets, and what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.influence import criterion_gradient
from unlearn.studies._shared.study import Study
from unlearn.studies.tuning.audit_options import TuningAuditOptions
from unlearn.studies.tuning.audit_pairs import ShadowPairs, releases_of, retrained, reweighted
from unlearn.unlearning import Reweighting, forget, relative_distance

OPTIONS = TuningAuditOptions(pairs=16, pair_share=0.6, cells=1)


@pytest.fixture(scope="module")
def study(linear: Forecaster, dataset: LoadDataset, cost: OperatingCost) -> Study:
    return Study(linear, dataset, cost, selection="random", hours=40)


@pytest.fixture(scope="module")
def shadows(study: Study) -> ShadowPairs:
    return ShadowPairs(study, 0.25, OPTIONS)


def test_some_removed_rows_are_copies_of_remaining_ones(shadows: ShadowPairs, study: Study) -> None:
    changed, original = shadows.study.dataset, study.dataset
    moved = np.flatnonzero((changed.load_mw != original.load_mw).any(axis=1))
    assert shadows.n_copies == len(moved) == round(0.2 * 245)
    assert set(moved) <= set(shadows.removed)
    remain = np.setdiff1d(original.split.train, shadows.removed)
    for row in moved:
        same = (original.load_mw[remain] == changed.load_mw[row]).all(axis=1)
        source = remain[same]
        assert any(np.array_equal(original.features[one], changed.features[row]) for one in source)


def test_models_are_fitted_on_their_training_sets(shadows: ShadowPairs) -> None:
    design, target = shadows.objective.design.numpy(), shadows.objective.target.numpy()
    for inside in (True, False):
        model = shadows.trained(3, inside)
        own = shadows.subsets[3].copy()
        own[shadows.rows] = inside
        fitted = np.linalg.lstsq(design[own], target[own], rcond=None)[0].T
        assert relative_distance(model.head, torch.from_numpy(fitted)) <= 1e-9
        np.testing.assert_array_equal(model.weights.numpy(), np.repeat(own[:, None], model.head.shape[0], axis=1))
        np.testing.assert_array_equal(model.forgotten.numpy(), model.weights.numpy() == 0)
    assert not shadows.subsets[:, shadows.rows].any()
    assert set(shadows.subsets.sum(axis=1)) == {round(0.6 * 735)}


def test_the_library_forgets_what_a_model_was_fitted_on(shadows: ShadowPairs) -> None:
    done = forget(shadows.trained(0, True), shadows.study.dataset, shadows.removed, compare_retrained=True)
    assert done.complete
    assert done.distance_to_retrained is not None
    assert done.distance_to_retrained <= 1e-9
    assert relative_distance(done.model.theta, shadows.trained(0, False).theta) <= 1e-9


def test_published_weights_differ_by_the_model_that_scores_were_taken_at_alone(shadows: ShadowPairs) -> None:
    release, cost = reweighted(0.2), shadows.study.cost
    inside, outside = (release.run(shadows, 0, own, cost) for own in (True, False))
    assert relative_distance(inside.theta, outside.theta) > 1e-3
    np.testing.assert_array_equal(inside.forgotten.numpy(), outside.forgotten.numpy())
    rows = shadows.evaluated
    assert len(rows) == 40
    for model, found in ((shadows.trained(0, True), inside), (shadows.trained(0, False), outside)):
        data = shadows.study.dataset
        slope = criterion_gradient(model, shadows.study.criteria["cost"], data.features[rows], data.load_pu[rows])
        forgotten = torch.from_numpy(~shadows.subsets[0])
        forgotten[shadows.rows] = False
        update = Reweighting(0.2).update(
            shadows.objective, model.theta, shadows.rows, slope.gradient, forgotten=forgotten
        )
        assert relative_distance(found.theta, update.theta) <= 1e-9


def test_owners_who_had_the_rows_have_priced_them(shadows: ShadowPairs) -> None:
    hours = {inside: shadows.priced(inside).statistics["dispatch"].hours for inside in (True, False)}
    assert hours == {True: 980, False: 735}
    assert shadows.priced(False, 50).statistics["dispatch"].hours == 785


def test_everything_is_audited_in_two_ways_where_there_are_two() -> None:
    named = [(own.columns["method"], own.columns.get("variant")) for own in releases_of(OPTIONS, True)]
    assert named == [
        ("reweighted", None),
        ("retrained", None),
        ("scale", None),
        ("affine", None),
        ("quantile", "loads"),
        ("quantile", "total"),
        ("weights", None),
        ("head", None),
        ("scale", "folds"),
    ]
    assert [releases_of(OPTIONS, exact)[0].columns["l1_budget"] for exact in (True, False)] == [0.25, 0.15]
    assert retrained().columns == {"method": "retrained"}


def refused(**changes: object) -> Callable[[], object]:
    return lambda: TuningAuditOptions(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (refused(pairs=15), "pairs: expected at least 16, half of them to fit attacks on, got 15"),
        (refused(pair_share=1.0), "pair_share: expected a share"),
        (refused(duplicates=1.5), "duplicates: expected a share of at most 1, got 1.5"),
        (refused(duplicates=-0.1), "duplicates: expected a number of at least 0"),
        (refused(low_bits=53), "low_bits: expected at most 52, got 53"),
        (refused(level=1), "level: expected a share"),
        (refused(l1_budget=0.0), "l1_budget: expected a number above 0"),
        (refused(tau=1.0), "quantile: tau: expected a share"),
        (refused(trust=-1.0), "trust: expected a number of at least 0"),
        (refused(folds=1), "folds: expected at least 2, got 1"),
        (refused(cells=0), "cells: expected a whole number of at least 1"),
    ],
)
def test_bad_options_are_refused(work: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        work()


def test_too_few_pairs_for_intervals_that_hold_together_are_refused() -> None:
    options = TuningAuditOptions(pairs=16, cells=6)
    with pytest.raises(InputError, match=r"pairs: expected at least 17, got 16: 270 intervals .* at 99 %"):
        options.interval_level(45)
    level = TuningAuditOptions(pairs=17, cells=6).interval_level(45)
    assert level == pytest.approx(1 - 0.01 / 270)
    # The bound that this number of pairs is for.
    assert ((1 - level) / 4) ** (1 / 17) > 0.5 > ((1 - level) / 4) ** (1 / 16)


def test_training_sets_that_determine_no_head_are_refused(study: Study) -> None:
    with pytest.raises(InputError, match=r"expected training sets of at least \d+ rows.*got 37 .*raise pair_share"):
        ShadowPairs(study, 0.25, TuningAuditOptions(pairs=16, pair_share=0.05))
