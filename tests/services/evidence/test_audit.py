"""Audits of deletions that are complete and of some that are not; shadow models against weighted least squares."""

import json

import numpy as np
import pytest

import unlearn
from tests.households.customer_data import loads
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.services.base import CUSTOMERS, HOURS, LOADS, Change
from unlearn.services.evidence.audit import audit
from unlearn.services.evidence.shadows import Shadows, remove_exactly, shadows_of

#: Both ways to a head end in the same up to rounding.
ROUNDING = 1e-9


@pytest.fixture(scope="module")
def data() -> LoadDataset:
    return unlearn.load_dataset("synthetic", n_loads=3, n_hours=1000)


@pytest.fixture(scope="module")
def model(data: LoadDataset) -> Forecaster:
    return unlearn.fit_linear(data)


def hours(data: LoadDataset, first: int, last: int, names: tuple[str, ...] | None = None) -> Change:
    """Hours that are removed, with loads of 0 afterwards."""
    rows = np.arange(first, last)
    blank = data.load_mw.copy()
    hit = [names is None or own in names for own in data.load_names]
    blank[np.ix_(rows, hit)] = 0.0
    return Change(HOURS, data, data.with_loads(blank), loads=names, rows=rows)


def withdrawn(data: LoadDataset, b: int) -> Change:
    """A load that is withdrawn, with its features."""
    kept = [own for own in range(data.n_loads) if own != b]
    after = LoadDataset(
        name=data.name,
        features=data.features[:, kept],
        load_mw=data.load_mw[:, kept],
        timestamps=data.timestamps,
        load_names=tuple(data.load_names[own] for own in kept),
        feature_names=data.feature_names,
        split=data.split,
    )
    return Change(LOADS, data, after, loads=(data.load_names[b],))


def customers(lags: list[int] | None, *names: str) -> tuple[Forecaster, Change, Forecaster]:
    own = loads(lags=lags)
    model = unlearn.fit_linear(own)
    done = unlearn.forget_customers(model, own, names)
    return model, Change(CUSTOMERS, own, done.dataset, customers=names), done.model


def by_hand(design: np.ndarray, target: np.ndarray, weights: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """Weighted least squares of each output from its normal equations, shape (B, D)."""
    found = []
    for b in range(target.shape[1]):
        gram = design.T @ (weights[:, b, None] * design) + ridge * np.eye(design.shape[1])
        found.append(np.linalg.solve(gram, design.T @ (weights[:, b] * target[:, b])))
    return np.stack(found)


def far(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def all_forms(data: LoadDataset, model: Forecaster) -> list[tuple[Forecaster, Change, Forecaster | None]]:
    gone = withdrawn(data, 0)
    return [
        (model, hours(data, 50, 90), None),
        (model, hours(data, 50, 90, data.load_names[1:]), None),
        (unlearn.fit_linear(data, l2=4.0), hours(data, 0, 90), None),
        (model, gone, unlearn.fit_linear(gone.after)),
        customers(None, "c007"),
        customers([24], "c007", "c031"),
    ]


def test_shadow_models_are_weighted_fits_with_and_without_and_forgetting_makes_one_of_the_other(
    data: LoadDataset, model: Forecaster
) -> None:
    for own, change, after in all_forms(data, model):
        shadows = shadows_of(own, change, after, 8)
        d, n_loads = shadows.design_out.shape[1], len(change.before.load_names)
        ridges = 0.5 * own.card.l2 * n_loads, 0.5 * own.card.l2 * change.after.n_loads
        inside, outside = shadows.inside, shadows.outside
        for k, draw in enumerate(shadows.draws):
            weights = shadows.weights_in * draw[:, None], shadows.weights_out * draw[:, None]
            held = by_hand(shadows.design_in, shadows.target_in, weights[0], ridges[0])[:, :d]
            assert far(inside[k], held) < ROUNDING
            assert far(outside[k], by_hand(shadows.design_out, shadows.target_out, weights[1], ridges[1])) < ROUNDING
        forgotten = remove_exactly(shadows, np.full_like(outside, np.nan) if not shadows.refeatured else outside)
        assert far(forgotten, outside) < ROUNDING < far(inside, outside)


def test_removed_rows_are_in_all_models_of_a_pair_or_in_none(data: LoadDataset, model: Forecaster) -> None:
    shadows = shadows_of(model, hours(data, 50, 90), None, 8)
    assert (shadows.draws[:, 50:90] == 1).all()
    assert (shadows.weights_in[50:90] == 1).all()
    assert not shadows.weights_out[50:90].any()
    assert (shadows.weights_out[90:] == 1).all()
    assert len(np.unique(shadows.draws[:, 90:])) > 3


def test_what_is_forgotten_completely_cannot_be_told(data: LoadDataset, model: Forecaster) -> None:
    for own, change, after in all_forms(data, model):
        if after is None and not own.card.l2:
            after = unlearn.forget(own, change.before, change.rows, loads=change.loads).model
        found = audit(own, change, after=after, pairs=20)
        assert found.told_before
        assert found.before.value > 0.8
        assert found.after.value == found.both_shown.value == 0.5
        assert found.left is None or abs(found.left) < 1e-6
        assert not found.told_after
        assert "no better than guessing" in found.sentences[0]


def first_order(shadows: Shadows, outside: np.ndarray) -> np.ndarray:
    """The step whose Hessian still holds the removed rows."""
    found = []
    gone = (shadows.weights_out == 0).any(axis=1)
    phi, y = shadows.design_in, shadows.target_in
    for head, draw in zip(shadows.inside, shadows.draws, strict=True):
        slope = (phi[gone] @ head.T - y[gone]).T @ phi[gone]
        found.append(head + np.linalg.solve(phi.T @ (draw[:, None] * phi), slope.T).T)
    return np.stack(found)


def test_a_step_that_leaves_something_is_told(data: LoadDataset, model: Forecaster) -> None:
    change = hours(data, 0, 200)
    after = unlearn.forget(model, data, change.rows, form="first_order").model
    found = audit(model, change, after=after, pairs=20, removal=first_order)
    assert found.told_after
    assert found.both_shown.low > 0.5
    assert found.left is not None
    assert 0.05 < found.left < 0.9
    assert "something of them is left" in found.sentences[1]


def test_lags_that_still_hold_the_customer_are_told() -> None:
    model, change, _ = customers([24], "c007")

    def targets_alone(shadows: Shadows, outside: np.ndarray) -> np.ndarray:
        return np.stack([by_hand(shadows.design_in, shadows.target_out, draw[:, None] * shadows.weights_out)
                         for draw in shadows.draws])  # fmt: skip

    rows = model.training_rows(change.before)
    half = by_hand(model.design_of(change.before, rows).numpy(), change.after.load_pu[rows], model.weights.numpy())
    after = model.fitted_anew(change.after)
    left = after.with_theta(
        model.with_theta(model.theta.new_tensor(half.ravel())).head_in_columns_of(after).reshape(-1)
    )
    found = audit(model, change, after=left, pairs=20, removal=targets_alone)
    assert found.told_after
    assert found.both_shown.low > 0.5


def test_a_model_that_was_not_changed_is_told_though_its_method_is_sound(data: LoadDataset, model: Forecaster) -> None:
    found = audit(model, hours(data, 50, 90), after=model, pairs=10)
    assert found.left == pytest.approx(1.0)
    assert found.told_after
    assert found.after.value == 0.5
    assert "stands at 100.0 %" in " ".join(found.sentences)


def test_what_hardly_matters_cannot_be_told_before_either(data: LoadDataset, model: Forecaster) -> None:
    rows = np.array([400])
    near = data.load_mw.copy()
    near[rows] *= 1 + 1e-7
    found = audit(model, Change(CUSTOMERS, data, data.with_loads(near), customers=("one",)), pairs=20)
    assert not found.told_before
    assert not found.told_after
    assert "says little about the removal" in " ".join(found.sentences)


@pytest.mark.slow
def test_networks_are_audited_by_their_head(dataset: LoadDataset, cnn: Forecaster) -> None:
    rows = dataset.split.sensitive[:60]
    done = unlearn.forget(cnn, dataset, rows).model
    found = audit(cnn, Change(HOURS, dataset, dataset, rows=rows), after=done, pairs=10)
    assert found.told_before
    assert not found.told_after
    assert "What is frozen beneath a head was not attacked." in found.sentences[-1]


def test_an_audit_repeats_and_is_json(data: LoadDataset, model: Forecaster) -> None:
    change = hours(data, 50, 90)
    one, other = (audit(model, change, pairs=8, seed=3).to_dict() for _ in range(2))
    said = json.loads(json.dumps(one))
    assert said["pairs"] == 8
    assert len(said["before"]) == 3
    assert all(one[name] == other[name] for name in one if name != "seconds")


def test_audits_that_show_nothing_are_refused(data: LoadDataset, model: Forecaster) -> None:
    change = hours(data, 50, 90)
    with pytest.raises(InputError, match="at least 8"):
        audit(model, change, pairs=4)
    with pytest.raises(InputError, match="nothing was in it"):
        audit(model, Change(HOURS, data, data, rows=data.split.test))
    with pytest.raises(InputError, match="no model after"):
        audit(model, withdrawn(data, 1))
    with pytest.raises(InputError, match="measurements that remain"):
        audit(model, Change(HOURS, data, data, rows=data.split.train))
    later = unlearn.load_dataset("synthetic", n_loads=3, n_hours=900)
    with pytest.raises(InputError, match="same rows before and after"):
        audit(model, Change(HOURS, data, later, rows=np.arange(5)))
    whole = unlearn.fit_network(data, "cnn", unlearn.TrainingOptions(epochs=1), loss="mse")
    with pytest.raises(InputError, match="trained as a whole"):
        audit(whole, change)


def test_loads_that_differ_in_their_weights_are_audited_where_they_change(data: LoadDataset, model: Forecaster) -> None:
    before = unlearn.forget(model, data, range(300, 330), loads=data.load_names[2:]).model
    change = hours(data, 50, 90, data.load_names[:1])
    assert list(shadows_of(before, change, None, 8).outputs) == [0]
    after = unlearn.forget(before, data, change.rows, loads=change.loads).model
    found = audit(before, change, after=after, pairs=20)
    assert found.told_before
    assert not found.told_after
