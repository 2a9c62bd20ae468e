"""Metrics beside scikit-learn, weights beside rows that are written out, thresholds and events beside slow searches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from unlearn.detectors.metrics import (
    AT_THRESHOLD,
    JOIN_H,
    Ranking,
    ThresholdRule,
    building_draws,
    choose_threshold,
    confusion,
    delays_h,
    find_events,
    interval,
)
from unlearn.errors import InputError

ROWS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=60)


@given(ROWS, st.integers(-4, 4))
def test_metrics_at_a_threshold_are_those_of_scikit_learn(rows: list[tuple[bool, int]], threshold: int) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    flagged = scores >= threshold
    found = confusion(labels, flagged)
    tn, fp, fn, tp = oracle.confusion_matrix(labels, flagged, labels=[False, True]).ravel()
    assert (found.tn, found.fp, found.fn, found.tp) == (tn, fp, fn, tp)
    expected = {
        "accuracy": oracle.accuracy_score(labels, flagged),
        "precision": oracle.precision_score(labels, flagged, zero_division=np.nan),
        "recall": oracle.recall_score(labels, flagged, zero_division=np.nan),
        "f1": oracle.f1_score(labels, flagged, zero_division=np.nan),
        "specificity": oracle.recall_score(~labels, ~flagged, zero_division=np.nan),
    }
    assert set(expected) == set(AT_THRESHOLD)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name), value, err_msg=name)


@given(ROWS, st.integers(0, 2**32 - 1))
def test_areas_are_those_of_scikit_learn_also_with_weights(rows: list[tuple[bool, int]], seed: int) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    ranking = Ranking(labels, scores)
    if labels.all() or not labels.any():
        assert np.isnan(ranking.roc_auc())
        return
    weights = np.random.default_rng(seed).integers(1, 4, len(labels)).astype(float)
    for own in (None, weights):
        np.testing.assert_allclose(ranking.roc_auc(own), oracle.roc_auc_score(labels, scores, sample_weight=own))
        area = oracle.average_precision_score(labels, scores, sample_weight=own)
        np.testing.assert_allclose(ranking.pr_auc(own), area)


def test_weights_of_draws_are_rows_written_out() -> None:
    random = np.random.default_rng(0)
    building, labels, scores = random.integers(0, 5, 80), random.random(80) < 0.4, random.random(80).round(1)
    for draw in building_draws(5, 6, seed=3):
        rows = np.concatenate([np.flatnonzero(building == m) for m in range(5) for _ in range(int(draw[m]))])
        written = Ranking(labels[rows], scores[rows])
        ranking = Ranking(labels, scores)
        np.testing.assert_allclose(ranking.roc_auc(draw[building]), written.roc_auc())
        np.testing.assert_allclose(ranking.pr_auc(draw[building]), written.pr_auc())
    assert (building_draws(5, 50).sum(axis=1) == 5).all()


def test_confusion_by_group_adds_up() -> None:
    random = np.random.default_rng(1)
    group, labels, flagged = random.integers(0, 3, 50), random.random(50) < 0.5, random.random(50) < 0.5
    found = confusion(labels, flagged, group, 4)
    for m in range(4):
        own = confusion(labels[group == m], flagged[group == m])
        assert (found.tp[m], found.fp[m], found.fn[m], found.tn[m]) == (own.tp, own.fp, own.fn, own.tn)


def test_intervals_leave_out_what_is_not_known() -> None:
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert all(np.isnan(interval(np.array([np.nan]))))


@given(ROWS)
def test_the_best_f1_is_the_highest_of_all_thresholds(rows: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    if not labels.any():
        with pytest.raises(InputError, match="expected anomalous validation rows"):
            choose_threshold(scores, labels, ThresholdRule())
        return
    chosen = choose_threshold(scores, labels, ThresholdRule())
    f1 = {t: oracle.f1_score(labels, scores >= t) for t in np.unique(scores)}
    assert f1[int(chosen.value)] == pytest.approx(max(f1.values()))


def test_a_percentile_looks_at_normal_rows_alone() -> None:
    scores = np.arange(200.0)
    labels = scores >= 100
    assert choose_threshold(scores, labels, ThresholdRule("percentile", 90)).value == np.percentile(scores[:100], 90)
    assert choose_threshold(scores, None, ThresholdRule("percentile", 90)).value == np.percentile(scores, 90)
    assert choose_threshold(scores, labels, ThresholdRule("value", 3.5)).value == 3.5
    with pytest.raises(InputError, match="expected normal validation rows"):
        choose_threshold(scores, scores >= 0, ThresholdRule("percentile", 90))


@pytest.mark.parametrize(
    ("kind", "at", "message"),
    [
        ("magic", None, r"threshold\.rule: expected one of best_f1, percentile, value"),
        ("best_f1", 3.0, "no number for the rule best_f1"),
        ("percentile", None, "a number for the rule percentile"),
        ("percentile", 101.0, "from 0 to 100"),
        ("value", np.inf, "a number for the rule value"),
    ],
)
def test_rules_that_make_no_sense_are_refused(kind: str, at: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ThresholdRule(kind, at)


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        Ranking([True, False], [1.0, np.nan])
    with pytest.raises(InputError, match="at least one"):
        Ranking([], [])
    with pytest.raises(InputError, match="labels: expected shape"):
        Ranking([True], [1.0, 2.0])


@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.5))
def test_events_and_delays_are_what_a_slow_search_finds(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    building, hour = (axis.ravel() for axis in np.meshgrid(np.arange(3), np.arange(5, 150), indexing="ij"))
    mixed = random.permutation(len(hour))
    building, hour = building[mixed], hour[mixed]
    labels, flagged = random.random(len(hour)) < share / 5, random.random(len(hour)) < share
    kind = np.where(labels, random.integers(0, 2, len(hour)), -1)
    expected = []
    for m in range(3):
        for code in range(2):
            hours = np.sort(hour[(building == m) & labels & (kind == code)])
            while hours.size:
                last = hours[0]
                while (later := hours[(hours > last) & (hours <= last + JOIN_H)]).size:
                    last = later[0]
                hit = np.sort(hour[(building == m) & flagged & (hour >= hours[0]) & (hour <= last)])
                expected.append((m, code, hours[0], last, hit[0] - hours[0] if hit.size else np.inf))
                hours = hours[hours > last]
    events = find_events(building, hour, labels, kind)
    found = delays_h(events, building, hour, flagged)
    rows = zip(events.building, events.kind, events.start, events.end, found, strict=True)
    assert sorted(tuple(map(float, row)) for row in rows) == sorted(tuple(map(float, row)) for row in expected)
