"""Logistic regression on real digits: closed forms of gradient and Hessian, and leave-one-out refits."""

import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn

from tests.influence.problems import Logistic, loaders
from unlearn.influence import AutogradInfluenceModule, CGInfluenceModule, LiSSAInfluenceModule

L2, N_TEST, TESTS = 0.02, 60, [5, 12, 40]


@pytest.fixture(scope="module")
def digits():
    """Ones against threes, intercept last."""
    pixels, labels = load_digits(return_X_y=True)
    chosen = (labels == 1) | (labels == 3)
    X = torch.from_numpy(pixels[chosen] / 16.0)
    X = torch.cat([X, torch.ones_like(X[:, :1])], dim=1)
    Y = torch.from_numpy((labels[chosen] == 3).astype("float64"))[:, None]
    return X[N_TEST:], Y[N_TEST:], X[:N_TEST], Y[:N_TEST]


def fit(X, Y, start=None):
    """Newton's method to the minimum of the mean loss and the ridge."""
    weights = torch.zeros(X.shape[1], dtype=torch.float64) if start is None else start
    for _ in range(12):
        share = torch.sigmoid(X @ weights)
        slope = X.T @ (share - Y[:, 0]) / len(X) + L2 * weights
        weights = weights - torch.linalg.solve(hessian(X, weights), slope)
    return weights


def hessian(X, weights):
    share = torch.sigmoid(X @ weights)
    return (X * (share * (1 - share))[:, None]).T @ X / len(X) + L2 * torch.eye(X.shape[1], dtype=torch.float64)


def module_of(digits, kind, dtype=torch.float64, batch_size=50, **options):
    X, Y, X_test, Y_test = (part.to(dtype) for part in digits)
    weights = fit(*digits[:2])
    model = nn.Linear(X.shape[1] - 1, 1).to(dtype)
    with torch.no_grad():
        model.weight.copy_(weights[None, :-1])
        model.bias.copy_(weights[-1:])
    train, test = loaders((X[:, :-1], Y), (X_test[:, :-1], Y_test), batch_size)
    return kind(model, Logistic(L2), train, test, "cpu", damp=0.0, **options)


METHODS = {
    "direct": (AutogradInfluenceModule, {}),
    "CG": (CGInfluenceModule, {"atol": 1e-8, "maxiter": 300}),
    "CG, Gauss-Newton": (CGInfluenceModule, {"gnh": True}),
    "LiSSA": (LiSSAInfluenceModule, {"repeat": 1, "depth": 800, "scale": 8.0}),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("method", METHODS)
def test_scores_agree_with_leave_one_out_refits(digits, method, dtype):
    torch.manual_seed(0)
    X, Y, X_test, Y_test = digits
    kind, options = METHODS[method]
    scores = module_of(digits, kind, dtype, **options).influences(range(len(X)), TESTS)
    base = fit(X, Y)

    def loss(weights):
        return nn.functional.binary_cross_entropy_with_logits(X_test[TESTS] @ weights, Y_test[TESTS, 0])

    order = scores.argsort().tolist()
    rows = order[:15] + order[-15:]
    keep = torch.ones(len(X), dtype=torch.bool)
    true = []
    for row in rows:
        keep[row] = False
        true.append(float(loss(fit(X[keep], Y[keep], base)) - loss(base)))
        keep[row] = True
    assert stats.pearsonr(scores[rows], true)[0] > 0.9
    assert stats.spearmanr(scores[rows], true)[0] > 0.9


@pytest.mark.parametrize("gnh", [False, True], ids=["Hessian", "Gauss-Newton"])
def test_products_are_those_of_the_closed_form(digits, gnh):
    """In the logits the loss is convex and the model linear; in the probabilities Gauss-Newton is another matrix."""
    X, Y, *_ = digits
    module = module_of(digits, CGInfluenceModule, gnh=gnh)
    weights = fit(X, Y)
    vector = torch.linspace(-1, 1, X.shape[1], dtype=torch.float64)
    if gnh:
        share = torch.sigmoid(X @ weights)
        slope = share * (1 - share)
        curvature = Y[:, 0] / share.square() + (1 - Y[:, 0]) / (1 - share).square()
        matrix = (X * (slope.square() * curvature)[:, None]).T @ X / len(X) + L2 * torch.eye(X.shape[1])
    else:
        matrix = hessian(X, weights)
    # PyTorch's second derivative of the binary cross entropy adds 1e-8 to the probabilities.
    torch.testing.assert_close(module.operator(gnh).matvec(vector), matrix @ vector, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(module.inverse_hvp(vector), torch.linalg.solve(matrix, vector), rtol=1e-5, atol=1e-7)
