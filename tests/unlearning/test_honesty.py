"""`complete` and `limitations` in the cases where it would be easy to claim too much."""

import pytest
import torch

import unlearn
from unlearn.errors import ConvergenceError, InputError, MismatchError
from unlearn.unlearning import steps


def test_a_solve_that_did_not_converge_is_not_complete(linear, dataset):
    loose = unlearn.IhvpOptions("cg", max_iter=1, on_failure="report")
    result = unlearn.forget(linear, dataset, range(100), ihvp=loose, compare_retrained=True)
    assert result.distance_to_retrained > 1e-3
    assert not result.complete
    assert result.statistics["status"] == "not converged"
    assert any("relative residual of" in sentence for sentence in result.limitations)


def test_scores_from_a_solve_that_did_not_converge_are_refused(linear, dataset):
    loose = unlearn.IhvpOptions("cg", max_iter=1, on_failure="report")
    with pytest.raises(ConvergenceError, match="scores would be wrong"):
        unlearn.reweight(linear, dataset, range(100), criterion="mse", l1_budget=0.1, ihvp=loose)


def test_evaluating_on_the_removed_rows_is_a_limitation(linear, dataset):
    result = unlearn.reweight(linear, dataset, range(100), "mse", l1_budget=0.1, evaluate_on=range(90, 130))
    assert any(sentence.startswith("10 of the removed rows were among those") for sentence in result.limitations)


def test_loads_in_per_unit_of_another_base_are_not_priced(grid, cost):
    other = unlearn.load_dataset("synthetic", n_hours=600, nominal_mw=grid.nominal_load_mw, base_mva=50.0)
    model = unlearn.fit_linear(other)
    with pytest.raises(MismatchError, match=r"per unit on 50 MVA.*on 100.*base_mva=100"):
        unlearn.reweight(model, other, range(50), criterion="cost", l1_budget=0.1, grid=cost)


def test_a_criterion_that_breaks_the_protocol_is_refused(linear, dataset):
    class Matrix:
        name, unit = "matrix", ""

        def __call__(self, forecast_pu, load_pu):
            return (forecast_pu - load_pu).square()

    class Detached(Matrix):
        def __call__(self, forecast_pu, load_pu):
            return (forecast_pu - load_pu).square().mean(dim=1).detach()

    with pytest.raises(InputError, match=r"one value per hour, shape \(140,\), got shape \(140, 14\)"):
        unlearn.reweight(linear, dataset, range(50), criterion=Matrix(), l1_budget=0.1)
    with pytest.raises(InputError, match="without a gradient"):
        unlearn.reweight(linear, dataset, range(50), criterion=Detached(), l1_budget=0.1)
    for wrong in (unlearn.MSE, lambda forecast, load: forecast):
        with pytest.raises(InputError, match=r"write unlearn.MSE\(\)"):
            unlearn.reweight(linear, dataset, range(50), criterion=wrong, l1_budget=0.1)


def test_errors_count_hours_from_the_start_of_what_was_given(cost, dataset):
    load = torch.from_numpy(dataset.load_pu[:6]).clone()
    load[4, 0] = -1.0
    with pytest.raises(InputError, match="in hour 4"):
        unlearn.price_hours(cost, load.abs(), load)
    criterion = unlearn.MAPE()
    model = unlearn.fit_linear(dataset)
    zero = dataset.load_pu[:600].copy()
    zero[300, 2] = 0.0
    with pytest.raises(InputError, match=r"in hour 44; .* Hours are counted from 256"):
        unlearn.criterion_gradient(model, criterion, dataset.features[:600], zero)


def test_the_worst_solve_of_several_decides(linear, dataset, monkeypatch):
    """Outputs with weights of their own are solved apart; one loose solve must not hide behind an exact one."""
    partial = unlearn.forget(linear, dataset, range(40), loads=[dataset.load_names[0]]).model
    exact = steps.newton_update
    residuals = iter([0.5, 0.0])

    def loose_first(*arguments):
        update = exact(*arguments)
        update.solution.statistics["relative_residual"] = next(residuals)
        return update

    monkeypatch.setattr(steps, "newton_update", loose_first)
    result = unlearn.forget(partial, dataset, range(40, 80), ihvp=unlearn.IhvpOptions("cg", rtol=1e-9))
    assert result.statistics["relative_residual"] == 0.5
    assert not result.complete
