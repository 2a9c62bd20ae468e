"""A whole network fitted again: against the one training loop; forecasts and criteria against direct ones."""

import numpy as np
import pytest
import torch
from torch import nn

import unlearn
from tests.studies.builders import QUICK, small_problem
from unlearn.errors import InputError
from unlearn.forecasters import TrainingOptions, train_network
from unlearn.studies.full_network.curvature import refit_head
from unlearn.studies.full_network.problem import NetworkProblem, block_bounds, block_means


@pytest.fixture(scope="module")
def problem() -> NetworkProblem:
    return small_problem()


@pytest.fixture(scope="module")
def theta(problem: NetworkProblem) -> torch.Tensor:
    keep = torch.ones((1, problem.n_trained), dtype=torch.bool)
    return problem.fit(problem.initial([0]), keep, [0])[0]


def loaded(problem: NetworkProblem, theta: torch.Tensor) -> nn.Module:
    network = problem.network(0).double()
    nn.utils.vector_to_parameters(theta, network.parameters())
    return network


def test_a_refit_equals_the_training_loop_on_the_same_rows_and_order(problem: NetworkProblem) -> None:
    keep = torch.rand((2, problem.n_trained), generator=torch.Generator().manual_seed(0)) < 0.7
    refits = problem.fit(problem.initial([3, 4]), keep, [3, 4])
    for seed, own, refit in zip((3, 4), keep, refits, strict=True):
        network = problem.network(seed)
        train_network(network, problem.inputs.float(), problem.targets.float(), QUICK, seed, own.float())
        expected = nn.utils.parameters_to_vector(network.parameters()).detach().double()
        # Both train in float32.
        torch.testing.assert_close(refit, expected, rtol=0, atol=1e-5)
        assert float((refit - problem.initial([seed])[0]).norm()) > 0.1


def test_warm_refits_run_every_epoch_from_where_they_start(problem: NetworkProblem, theta: torch.Tensor) -> None:
    keep = torch.ones((1, problem.n_trained), dtype=torch.bool)
    still = TrainingOptions(epochs=1, learning_rate=1e-30)
    torch.testing.assert_close(problem.fit(theta[None], keep, [0], still)[0], theta, rtol=0, atol=1e-9)


def test_forecasts_are_those_of_the_network(problem: NetworkProblem, theta: torch.Tensor) -> None:
    inputs, targets = problem.judged["test"]
    network = loaded(problem, theta)
    with torch.no_grad():
        expected = network(inputs)
    (outputs,) = problem.forecasts(theta[None])
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    error_pu = (expected - targets) * problem.std_pu
    assert float(problem.hourly_mse(outputs).mean()) == pytest.approx(float((error_pu**2).mean()), rel=1e-12)
    losses = problem.objective().losses(theta)
    with torch.no_grad():
        fitted = (network(problem.inputs) - problem.targets)[: problem.n_trained]
    torch.testing.assert_close(losses, fitted.square().mean(dim=1), rtol=1e-10, atol=0)


def test_rows_come_from_training_in_time_order_and_are_scaled_by_themselves() -> None:
    dataset = unlearn.load_dataset("synthetic", n_hours=300, n_loads=2)
    load_pu, train = dataset.load_pu, dataset.split.train
    whole = NetworkProblem.draw(dataset, len(train), "cnn", QUICK)
    np.testing.assert_allclose(whole.targets * whole.std_pu, load_pu[train] - load_pu[train].mean(axis=0), atol=1e-12)
    assert whole.n_trained == 189
    drawn = NetworkProblem.draw(dataset, 50, "cnn", QUICK)
    np.testing.assert_allclose(drawn.targets.mean(dim=0), 0, atol=1e-12)
    np.testing.assert_allclose(drawn.targets.std(dim=0, correction=0), 1, atol=1e-12)
    for split in ("validation", "test"):
        steps = np.diff(load_pu[getattr(dataset.split, split)], axis=0)
        np.testing.assert_allclose(np.diff(drawn.judged[split][1] * drawn.std_pu, axis=0), steps, atol=1e-12)


def test_the_heads_refit_is_least_squares_on_the_kept_rows(theta: torch.Tensor) -> None:
    problem = small_problem(150)
    keep = torch.ones((2, problem.n_trained), dtype=torch.bool)
    keep[1, ::4] = False
    network = loaded(problem, theta)
    with torch.no_grad():
        design, judged = network[0](problem.inputs[: problem.n_trained]), network[0](problem.judged["test"][0])
    design, judged = (torch.cat([x, torch.ones(len(x), 1)], dim=1).numpy() for x in (design, judged))
    for own, outputs in zip(keep.numpy(), refit_head(problem, theta, keep), strict=True):
        head = np.linalg.lstsq(design[own], problem.targets[: problem.n_trained].numpy()[own], rcond=None)[0]
        np.testing.assert_allclose(outputs, judged @ head, atol=1e-8)


def test_blocks_of_hours_cover_them_once() -> None:
    bounds = block_bounds(10, 3)
    assert [hour for first, last in bounds for hour in range(first, last)] == list(range(10))
    np.testing.assert_allclose(block_means(torch.arange(10.0), 2), [2, 7])


@pytest.mark.parametrize(
    ("rows", "split", "message"),
    [
        (10_000, unlearn.FAIR, "expected 2 to 210 training rows, got 10000"),
        (50, unlearn.PUBLISHED, "use protocol=fair"),
    ],
)
def test_what_cannot_be_drawn_is_refused(rows: int, split: unlearn.SplitSpec, message: str) -> None:
    dataset = unlearn.load_dataset("synthetic", n_hours=300, n_loads=2, split=split)
    with pytest.raises(InputError, match=message):
        NetworkProblem.draw(dataset, rows, "cnn", QUICK)
