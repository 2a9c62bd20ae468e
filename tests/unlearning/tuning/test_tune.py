"""`tune`: what it is computed from, what a tuned model remembers, and what is refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import unlearn
from unlearn.criteria import OperatingCostCriterion, Weighted, grids_of
from unlearn.data import LoadDataset
from unlearn.forecasters import Forecaster, HeadObjective, load_forecaster, save_forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.unlearning.tuning import Affine, Head, Quantile, Scale, TuningMethod, Weights

#: Each method with its hyper-parameters given, in few steps.
GIVEN: dict[str, TuningMethod] = {
    "scale": Scale(),
    "affine": Affine(trust=1000.0, steps=20),
    "quantile of loads": Quantile(tau=0.7, variant="loads"),
    "quantile of the total": Quantile(tau=0.7, variant="total"),
    "weights": Weights(l1_budget=0.05, steps=4),
    "head": Head(trust=1000.0, steps=20),
}


@pytest.fixture(scope="module")
def removed(dataset: LoadDataset) -> np.ndarray:
    return dataset.split.sensitive[40:90]


def _recipe(name: str, grid: GridCase, folds: int = 0) -> unlearn.Tuning:
    return unlearn.Tuning("cost", GIVEN[name], grid, folds)


def _same_bits(first: Forecaster, second: Forecaster) -> bool:
    tensors = [{**m.state_dict(), **m.statistics.to_tensors()} for m in (first, second)]  # type: ignore[union-attr]
    return all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


@pytest.mark.parametrize("name", GIVEN)
def test_forget_then_tune_is_retrain_then_tune(
    name: str, model: Forecaster, dataset: LoadDataset, grid: GridCase, removed: np.ndarray
) -> None:
    found = unlearn.forget(model, dataset, removed, tune=_recipe(name, grid))
    assert found.complete
    # A model that is fitted to what remains alone, and never saw the rest.
    head_rows = model.training_rows(dataset)
    remains = ~np.isin(head_rows, removed)
    objective = model.objective(dataset)
    theta = HeadObjective(objective.design[remains], objective.target[remains]).fit()
    kept = torch.from_numpy(remains)[:, None].expand(-1, dataset.n_loads)
    other = model.with_theta(theta, kept.double(), forgotten=~kept)
    retrained = unlearn.tune(other, dataset, "cost", GIVEN[name], grid=grid, folds=0)
    scale = float(retrained.model.tuned.norm())
    assert float((found.model.tuned - retrained.model.tuned).norm()) <= 1e-8 * scale
    assert float((found.model.head - theta.reshape(model.head.shape)).norm()) <= 1e-8 * float(theta.norm())
    np.testing.assert_array_equal(found.tuned.rows, head_rows[remains])  # type: ignore[union-attr]


@pytest.mark.parametrize("name", GIVEN)
def test_what_the_removed_rows_held_is_in_no_bit_of_the_result(
    name: str, grid: GridCase, dataset: LoadDataset, removed: np.ndarray
) -> None:
    random = np.random.default_rng(5)
    other_loads = dataset.load_mw.copy()
    other_loads[removed] *= random.uniform(0.2, 2.0, other_loads[removed].shape)
    results = []
    for load_mw in (dataset.load_mw, other_loads):
        own = dataclasses.replace(dataset, load_mw=load_mw)
        cost = OperatingCost(grid)
        if load_mw is other_loads:  # what the grid priced before must not matter either
            cost(own.load_pu[removed] * 1.1, own.load_pu[removed])
        recipe = unlearn.Tuning("cost", GIVEN[name], cost, folds=0)
        results.append(unlearn.forget(unlearn.fit_linear(own), own, removed, tune=recipe).model)
    assert _same_bits(*results)


def test_hyper_parameters_too_are_chosen_without_the_removed_rows(
    grid: GridCase, dataset: LoadDataset, removed: np.ndarray
) -> None:
    other_loads = dataset.load_mw.copy()
    other_loads[removed] *= 0.3
    found = []
    for load_mw in (dataset.load_mw, other_loads):
        own = dataclasses.replace(dataset, load_mw=load_mw)
        recipe = unlearn.Tuning("cost", Quantile(variant="total", n_taus=3), grid, folds=2)
        found.append(unlearn.forget(unlearn.fit_linear(own), own, removed, tune=recipe))
    assert _same_bits(found[0].model, found[1].model)
    assert found[0].tuned.tried == found[1].tuned.tried
    assert len(found[0].tuned.tried) == 3


@pytest.mark.parametrize("name", ["scale", "head"])
def test_forgetting_again_untunes_forgets_exactly_and_tunes_anew(
    name: str, model: Forecaster, dataset: LoadDataset, grid: GridCase
) -> None:
    first, then = dataset.split.sensitive[40:70], dataset.split.sensitive[70:90]
    recipe = _recipe(name, grid)
    one = unlearn.forget(model, dataset, first, tune=recipe)
    two = unlearn.forget(one.model, dataset, then)
    both = unlearn.forget(model, dataset, np.concatenate([first, then]), tune=recipe)
    assert two.complete
    assert two.tuned is not None
    assert two.model.recipe == recipe
    assert _same_bits(two.model, both.model)
    plain = unlearn.forget(one.model.untuned(), dataset, then)
    assert plain.tuned is None
    assert not plain.model.is_tuned
    torch.testing.assert_close(plain.model.head, two.model.head, rtol=1e-9, atol=1e-12)


def test_a_tuned_model_forecasts_with_the_tuned_head_and_keeps_the_other(
    linear: Forecaster, dataset: LoadDataset, grid: GridCase
) -> None:
    tuned = unlearn.tune(linear, dataset, "cost", "scale", grid=grid)
    k = tuned.parameters["k"]
    rows = dataset.split.test
    np.testing.assert_allclose(
        tuned.model.forecast(dataset.features[rows]), k * linear.forecast(dataset.features[rows]), rtol=1e-9
    )
    np.testing.assert_allclose(
        tuned.model.untuned().forecast(dataset.features[rows]), linear.forecast(dataset.features[rows]), rtol=1e-9
    )
    assert tuned.after < tuned.before
    assert tuned.left_out_after < tuned.left_out_before
    assert "scale for cost" in repr(tuned)
    assert tuned.model.card.tuned["parameters"] == {"k": k}


def test_a_tuned_model_keeps_no_grid_that_has_priced_anything(
    linear: Forecaster, dataset: LoadDataset, grid: GridCase, removed: np.ndarray
) -> None:
    cost = OperatingCost(grid)
    cost(dataset.load_pu[removed] * 1.1, dataset.load_pu[removed])
    weighted = Weighted({OperatingCostCriterion(cost): 1.0, unlearn.MSE(): 500.0})
    for recipe in (unlearn.Tuning("cost", Scale(), cost, 0), unlearn.Tuning(weighted, Scale(), folds=0)):
        kept = unlearn.forget(linear, dataset, removed, tune=recipe).model.recipe
        assert isinstance(kept, unlearn.Tuning)
        assert kept.said() == recipe.said()
        (own,) = grids_of(kept.made()[0])
        assert own.statistics["dispatch"].hours == own.statistics["redispatch"].hours == 0
        (theirs,) = grids_of(recipe.made()[0])
        assert theirs is cost


def test_a_tuned_model_goes_through_a_file_with_its_recipe(
    linear: Forecaster, dataset: LoadDataset, tmp_path: Path, removed: np.ndarray
) -> None:
    criterion = Weighted({OperatingCostCriterion("ieee14"): 1.0, unlearn.MSE(): 500.0})
    tuned = unlearn.tune(linear, dataset, criterion, Head(trust=100.0, steps=10), folds=0)
    loaded = load_forecaster(save_forecaster(tuned.model, tmp_path / "model"))
    np.testing.assert_array_equal(loaded.forecast(dataset.features[:50]), tuned.model.forecast(dataset.features[:50]))
    again = unlearn.forget(loaded, dataset, removed)
    assert _same_bits(again.model, unlearn.forget(tuned.model, dataset, removed).model)


def test_a_recipe_that_a_card_cannot_give_back_is_asked_for(
    linear: Forecaster, dataset: LoadDataset, tmp_path: Path, removed: np.ndarray
) -> None:
    class Own(unlearn.MSE):
        name = "my error"

    tuned = unlearn.tune(linear, dataset, Own(), Scale(), folds=0)
    loaded = load_forecaster(save_forecaster(tuned.model, tmp_path / "model"))
    with pytest.raises(unlearn.errors.InputError, match=r"recipe.*cannot be made from its card.*Pass tune="):
        unlearn.forget(loaded, dataset, removed)
    done = unlearn.forget(loaded, dataset, removed, tune=unlearn.Tuning(Own(), Scale(), folds=0))
    assert done.tuned is not None


def test_forgetting_without_the_data_drops_the_tuning_and_says_so(
    linear: Forecaster, dataset: LoadDataset, grid: GridCase, removed: np.ndarray
) -> None:
    tuned = unlearn.tune(linear, dataset, "cost", Scale(), grid=grid, folds=0).model
    done = unlearn.forget_rows(tuned, removed, dataset.features[removed], dataset.load_pu[removed])
    assert not done.model.is_tuned
    assert any("tuning was dropped" in said for said in done.limitations)


def test_single_loads_that_were_forgotten_leave_their_hours_out(
    linear: Forecaster, dataset: LoadDataset, grid: GridCase
) -> None:
    rows, names = dataset.split.train[:60], dataset.load_names
    partly = unlearn.forget(linear, dataset, rows, loads=[names[0]], tune=_recipe("head", grid))
    assert not np.isin(partly.tuned.evaluated, rows).any()
    assert np.isin(rows, partly.tuned.rows).all()  # other loads of these hours still count
    gone = unlearn.forget(linear, dataset, dataset.split.train, loads=[names[3]], tune=_recipe("weights", grid))
    assert not gone.model.forecast(dataset.features[:5])[:, 3].any()
    assert len(gone.tuned.evaluated) == len(dataset.split.train)


def test_rows_of_the_callers_choice_are_what_is_evaluated(
    linear: Forecaster, dataset: LoadDataset, grid: GridCase, removed: np.ndarray
) -> None:
    model = unlearn.forget(linear, dataset, removed).model
    chosen = np.setdiff1d(dataset.split.train, removed)[-300:]
    tuned = unlearn.tune(model, dataset, "cost", Scale(), grid=grid, rows=chosen, folds=0)
    np.testing.assert_array_equal(tuned.evaluated, chosen)
    assert len(tuned.rows) == len(dataset.split.train) - len(removed)
    every = unlearn.tune(model, dataset, "cost", Scale(), grid=grid, folds=0)
    assert tuned.parameters != every.parameters
    torch.testing.assert_close(tuned.model.head, every.model.head)


def test_of_candidates_that_weeks_cannot_tell_apart_the_most_cautious_is_taken(
    linear: Forecaster, dataset: LoadDataset
) -> None:
    # Least squares is best already, whatever the trust.
    tuned = unlearn.tune(linear, dataset, "mse", Head(steps=10), folds=3)
    assert tuned.parameters["mu"] == max(own["trust"] for own in tuned.tried)
    scores = [own["left_out"] for own in tuned.tried]
    assert tuned.left_out_after == scores[0]


class _Cut(unlearn.MSE):
    """Without a gradient."""

    name = "cut"

    def __call__(self, forecast_pu: torch.Tensor, load_pu: torch.Tensor) -> torch.Tensor:
        return super().__call__(forecast_pu.detach(), load_pu)


REFUSED: dict[str, tuple[Callable[[Forecaster, LoadDataset, np.ndarray], object], str]] = {
    "removed rows": (
        lambda m, d, gone: unlearn.tune(unlearn.forget(m, d, gone).model, d, "mse", Scale(), rows=gone),
        r"rows to tune on: expected rows that remain, got 50 that were removed.*bring them back.*Leave them out",
    ),
    "test rows": (
        lambda m, d, gone: unlearn.tune(m, d, "mse", Scale(), rows=d.split.test),
        r"expected rows that the head was fitted on, got 280 others.*pass none",
    ),
    "no gradient": (
        lambda m, d, gone: unlearn.tune(m, d, _Cut(), Head(trust=1.0)),
        r"method head follows the gradient.*cut has none.*method=\"scale\"",
    ),
    "fewer weeks than folds": (
        lambda m, d, gone: unlearn.tune(m, d, "mse", "scale", folds=40),
        r"at least 40 weeks.*got 980 rows in \d+ weeks.*fewer folds",
    ),
    "one fold": (lambda m, d, gone: unlearn.tune(m, d, "mse", "scale", folds=1), r"at least 2, or 0"),
    "no folds to choose by": (
        lambda m, d, gone: unlearn.tune(m, d, "mse", Head(), folds=0),
        r"at least 2 to choose among 6 candidates of head, got 0",
    ),
    "cost without a grid": (lambda m, d, gone: unlearn.tune(m, d), r"needs a grid: pass grid="),
    "prices without a grid": (
        lambda m, d, gone: unlearn.tune(m, d, "mse", "quantile"),
        r"criterion 'mse' has no prices to search τ by. Pass Quantile\(tau=",
    ),
    "an unknown method": (lambda m, d, gone: unlearn.tune(m, d, "mse", "scal"), r"Did you mean 'scale'"),
    "a class": (lambda m, d, gone: unlearn.tune(m, d, "mse", Scale), r"an object such as Weights"),
    "re-weighted": (
        lambda m, d, gone: unlearn.tune(unlearn.reweight(m, d, gone, "mse", 0.1).model, d, "mse"),
        r"got one that was re-weighted.*Tune what forget returns",
    ),
    "influence of a tuned model": (
        lambda m, d, gone: unlearn.reweight(unlearn.tune(m, d, "mse", folds=0).model, d, gone, "mse", 0.1),
        r"reweight: expected a model.*least-squares head, got one tuned by scale. Pass model.untuned\(\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_tuned_is_refused_before_work_starts(
    case: str, linear: Forecaster, dataset: LoadDataset, removed: np.ndarray
) -> None:
    call, said = REFUSED[case]
    with pytest.raises(unlearn.errors.InputError, match=said):
        call(linear, dataset, removed)


def test_another_power_base_is_refused(linear: Forecaster, dataset: LoadDataset, grid: GridCase) -> None:
    other = dataclasses.replace(grid, base_mva=10.0)
    with pytest.raises(unlearn.errors.MismatchError, match="per unit on 100 MVA"):
        unlearn.tune(linear, dataset, "cost", grid=other)
