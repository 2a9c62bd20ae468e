"""LiSSA draws what torch-influence draws: against its published recursion, written down plainly over loaders."""

import pytest
import torch
from torch.func import grad, hessian
from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset, TensorDataset

from tests.influence.problems import N_TEST, N_TRAIN, D, Ridge, RidgeProblem, loaders
from unlearn.influence import LiSSAInfluenceModule

REPEAT, DEPTH, SCALE, DAMP, BATCH = 2, 30, 25.0, 0.1, 8


class Plain:
    """The published recursion for ridge regression: a new loader for every pass, and dense Hessians of batches."""

    def __init__(self, problem):
        self.problem, self.weights = problem, problem.solution()
        self.train = TensorDataset(problem.X, problem.Y[:, 0])
        self.test = TensorDataset(problem.X_test, problem.Y_test[:, 0])

    def loss(self, weights, X, Y, l2):
        return (X @ weights - Y).square().mean() + 0.5 * l2 * weights.square().sum()

    def gradient(self, rows, train):
        data, l2 = (self.train, self.problem.l2) if train else (self.test, 0.0)
        total = torch.zeros(D, dtype=torch.float64)
        for X, Y in DataLoader(Subset(data, rows), BATCH):
            total += grad(self.loss)(self.weights, X, Y, l2) * len(X)
        return total / len(rows)

    def inverse_hvp(self, vector):
        total = torch.zeros_like(vector)
        for _ in range(REPEAT):
            estimate = vector.clone()
            sampler = RandomSampler(self.train, replacement=True, num_samples=DEPTH * BATCH)
            for X, Y in DataLoader(self.train, BATCH, sampler=sampler):
                curved = hessian(self.loss)(self.weights, X, Y, self.problem.l2) @ estimate + DAMP * estimate
                estimate = vector + estimate - curved / SCALE
            total += estimate / SCALE
        return total / REPEAT

    def stest(self, rows):
        return self.inverse_hvp(self.gradient(rows, train=False))

    def influences(self, rows, tests):
        solved = self.stest(tests)
        scores = []
        for X, Y in DataLoader(Subset(self.train, rows), 1):
            scores.append(grad(self.loss)(self.weights, X, Y, self.problem.l2) @ solved)
        return torch.stack(scores) / N_TRAIN


@pytest.fixture
def problem():
    return RidgeProblem.make()


def module(problem, seed):
    """A module, built after the seed: its checks must not draw, but new layers do."""
    model, objective = problem.model(), Ridge(problem.l2)
    train, test = loaders((problem.X[:, :-1], problem.Y), (problem.X_test[:, :-1], problem.Y_test), BATCH)
    torch.manual_seed(seed)
    return LiSSAInfluenceModule(model, objective, train, test, "cpu", DAMP, REPEAT, DEPTH, SCALE)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_session_draws_what_the_published_one_draws(problem, seed):
    rows, tests = [3, 50, 99], list(range(N_TEST))
    plain = Plain(problem)
    lissa = module(problem, seed)
    found = [
        lissa.stest(tests), lissa.influences(rows, tests), lissa.train_loss_grad(rows),
        lissa.inverse_hvp(lissa.test_loss_grad([2])), lissa.influences([1], [0]), torch.rand(1),
    ]  # fmt: skip
    torch.manual_seed(seed)
    expected = [
        plain.stest(tests), plain.influences(rows, tests), plain.gradient(rows, train=True),
        plain.inverse_hvp(plain.gradient([2], train=False)), plain.influences([1], [0]), torch.rand(1),
    ]  # fmt: skip
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)


def test_reusing_stest_leaves_out_its_draws(problem):
    lissa, plain = module(problem, 1), Plain(problem)
    lissa.influences([1, 2], [0], stest=torch.ones(D, dtype=torch.float64))
    found = torch.rand(1)
    torch.manual_seed(1)
    for _ in DataLoader(Subset(plain.train, [1, 2]), 1):
        pass
    assert torch.equal(found, torch.rand(1))


class Fetched(Dataset):
    """Rows that are not tensors in memory, so that passes over them take loaders with workers' seeds."""

    def __init__(self, X, Y):
        self.X, self.Y = X, Y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return self.X[row], self.Y[row]


def test_checks_residuals_and_dampings_leave_the_generator_alone(problem):
    train, test = Fetched(problem.X[:, :-1], problem.Y), Fetched(problem.X_test[:, :-1], problem.Y_test)
    given = problem.model(), Ridge(problem.l2), DataLoader(train, BATCH), DataLoader(test, BATCH), "cpu"
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    LiSSAInfluenceModule(*given, "auto", 1, 2, SCALE)
    assert torch.equal(torch.random.get_rng_state(), before)
