"""Scores and unlearning for a module of one's own."""

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import unlearn
from unlearn.errors import ConvergenceError, InputError
from unlearn.unlearning import trained as damped

N, D, B = 120, 5, 2


@pytest.fixture
def data():
    random = torch.Generator().manual_seed(0)
    X = torch.randn(N + 30, D, generator=random, dtype=torch.float64)
    Y = torch.sin(X @ torch.randn(D, B, generator=random, dtype=torch.float64))
    Y[:10] += 5.0  # poisoned rows
    return X, Y


def loaders(X, Y, batch_size=16):
    return (
        DataLoader(TensorDataset(X[:N], Y[:N]), batch_size),
        DataLoader(TensorDataset(X[N:], Y[N:]), batch_size),
    )


def ridge(X, Y, l2=0.1):
    """Minimiser of the mean squared error and the ridge, intercept regularised as well."""
    design = torch.cat([X, torch.ones_like(X[:, :1])], dim=1)
    gram = design.T @ design + 0.5 * B * l2 * len(X) * torch.eye(D + 1)
    head = torch.linalg.solve(gram, design.T @ Y).T
    model = nn.Linear(D, B).double()
    with torch.no_grad():
        model.weight.copy_(head[:, :-1])
        model.bias.copy_(head[:, -1])
    return model


def distance(a, b):
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return sum(float((p - q).detach().square().sum()) for p, q in pairs) ** 0.5


@pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
def test_a_linear_model_forgets_exactly(data, curvature):
    X, Y = data
    model = ridge(X[:N], Y[:N])
    before = copy.deepcopy(model.state_dict())
    trained = unlearn.TrainedModule(model, F.mse_loss, *loaders(X, Y), l2=0.1, curvature=curvature)
    assert len(set(trained.most_harmful(10)) & set(range(10))) >= 8
    result = trained.forget(range(10))
    refitted = ridge(X[10:N], Y[10:N])
    assert distance(result.model, refitted) <= 1e-9 * distance(model, refitted)
    assert result.complete
    assert result.statistics["damping"] == trained.damping == 0.0
    assert result.statistics["gradient_ratio_after"] < 1e-8
    assert result.statistics["stationarity_before"] < 1e-8
    assert result.statistics["test_loss_after"] == pytest.approx(F.mse_loss(refitted(X[N:]), Y[N:]).item())
    assert result.statistics["test_loss_before"] == pytest.approx(F.mse_loss(model(X[N:]), Y[N:]).item())
    assert len(result.limitations) == 1
    assert "scalers" in result.limitations[0]
    # The original is untouched, and can forget by a mask.
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    again = trained.forget(np.arange(N) < 10)
    assert distance(again.model, result.model) == 0.0
    assert np.array_equal(again.unlearn_rows, np.arange(10))


def train(X, Y, seed=0, steps=400):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(D, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, B)).double()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimiser.step()
    return model.eval()


def test_a_network_is_scored_and_unlearnt_with_its_limits_stated(data):
    X, Y = data
    model = train(X[:N], Y[:N])
    trained = unlearn.TrainedModule(model, F.mse_loss, *loaders(X, Y))
    scores = trained.influences()
    assert scores.shape == (N,)
    assert trained.influences() is scores
    # By chance, 1.7 of the 10 poisoned rows would be among the 20 worst of 120.
    assert len(set(trained.most_harmful(20)) & set(range(10))) >= 4
    assert scores[:10].sum() < 0
    assert scores[trained.most_helpful(1)[0]] == scores.max()
    result = trained.forget(range(10))
    assert result.statistics["test_loss_after"] < result.statistics["test_loss_before"]
    assert result.statistics["gain"] >= 0.25
    assert result.statistics["damping"] > 0
    assert trained.damping > 0
    assert not result.complete
    said = "\n".join(result.limitations)
    assert "not complete forgetting" in said
    assert "The curvature was damped" in said
    assert "Buffers are kept" in said
    assert "1.running_mean" in said


def test_a_step_that_goes_too_far_is_told(data):
    X, Y = data
    trained = unlearn.TrainedModule(train(X[:N], Y[:N]), F.mse_loss, *loaders(X, Y), damp=1e-6)
    result = trained.forget(range(10))
    assert result.statistics["gain"] < 0
    assert any("it went too far" in sentence for sentence in result.limitations)


def test_a_frozen_extractor_leaves_the_head_exact(data):
    X, Y = data
    model = train(X[:N], Y[:N])
    model[:3].requires_grad_(False)
    design = model[:3](X[:N]).detach()
    design = torch.cat([design, torch.ones(N, 1)], dim=1)
    with torch.no_grad():
        head = torch.linalg.lstsq(design, Y[:N]).solution.T
        model[3].weight.copy_(head[:, :-1])
        model[3].bias.copy_(head[:, -1])
    result = unlearn.TrainedModule(model, F.mse_loss, *loaders(X, Y)).forget(range(10))
    expected = torch.linalg.lstsq(design[10:], Y[10:N]).solution.T
    torch.testing.assert_close(result.model[3].weight, expected[:, :-1], rtol=1e-7, atol=1e-9)
    assert result.complete
    assert any("Frozen parameters are kept" in sentence for sentence in result.limitations)


def test_classes_and_another_eval_loss():
    """Cross entropy with integer targets; judged by the error on the true class's probability."""
    random = torch.Generator().manual_seed(0)
    X = torch.randn(N + 30, D, generator=random, dtype=torch.float64)
    Y = (X[:, :3] + 0.5 * torch.randn(N + 30, 3, generator=random, dtype=torch.float64)).argmax(dim=1)
    model = nn.Linear(D, 3).double()
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16)

    def loss():
        optimiser.zero_grad()
        value = F.cross_entropy(model(X[:N]), Y[:N]) + 0.005 * sum(p.square().sum() for p in model.parameters())
        value.backward()
        return value

    optimiser.step(loss)
    eval_loss = lambda outputs, classes: 1 - outputs.softmax(dim=1).gather(1, classes[:, None]).mean()  # noqa: E731
    trained = unlearn.TrainedModule(model, F.cross_entropy, *loaders(X, Y), l2=0.01, eval_loss=eval_loss)
    scores, rows = trained.influences(), np.arange(0, N, 6)
    base = float(eval_loss(model(X[N:]), Y[N:]).detach())
    changes = []
    for row in rows:
        result = trained.forget([row])
        assert result.statistics["gradient_ratio_after"] < 0.2
        changes.append(float(eval_loss(result.model(X[N:]), Y[N:]).detach()) - base)
    assert stats.pearsonr(scores[rows], changes)[0] > 0.99


def test_interrupted_scores_go_on(data, tmp_path):
    X, Y = data
    first = unlearn.TrainedModule(ridge(X[:N], Y[:N]), F.mse_loss, *loaders(X, Y), l2=0.1)
    scores = first.influences(checkpoint=tmp_path)
    second = unlearn.TrainedModule(ridge(X[:N], Y[:N]), F.mse_loss, *loaders(X, Y), l2=0.1)
    assert np.array_equal(second.influences(checkpoint=tmp_path), scores)
    assert (tmp_path / "stest.safetensors").exists()


def test_refusals(data):
    X, Y = data
    model = ridge(X[:N], Y[:N])
    trained = unlearn.TrainedModule(model, F.mse_loss, *loaders(X, Y), l2=0.1)
    for rows in ([], range(N)):
        with pytest.raises(InputError, match=f"expected some of the {N} training rows"):
            trained.forget(rows)
    for count in (0, N + 1):
        with pytest.raises(InputError, match=f"count: expected 1 to {N} rows"):
            trained.most_harmful(count)
    with pytest.raises(InputError, match="curvature: expected one of gauss_newton, hessian"):
        unlearn.TrainedModule(model, F.mse_loss, *loaders(X, Y), curvature="fisher")
    with pytest.raises(InputError, match="loss: expected a function of outputs and targets, got str"):
        unlearn.TrainedModule(model, "mse", *loaders(X, Y))
    with pytest.raises(InputError, match=r"targets: expected the shape of the outputs, \(16, 2\), got \(16,\)"):
        unlearn.TrainedModule(model, F.mse_loss, *loaders(X, Y[:, 0]))
    three = DataLoader(TensorDataset(X, Y, Y), 4)
    with pytest.raises(InputError, match=r"batch: expected \(inputs, targets\), got a list of 3; for other batches"):
        unlearn.TrainedModule(model, F.mse_loss, three, three)


def test_a_step_that_never_keeps_its_promise_is_refused(data, monkeypatch):
    """A quadratic loss gives exactly what was promised, never twice as much."""
    monkeypatch.setattr(damped, "ENOUGH", 2.0)
    X, Y = data
    trained = unlearn.TrainedModule(ridge(X[:N], Y[:N]), F.mse_loss, *loaders(X, Y), l2=0.1)
    with pytest.raises(ConvergenceError, match=r"no step with damping up to .* Train the model to a minimum"):
        trained.forget(range(10))
