"""Designs whose columns depend on each other exactly, as people make them by accident."""

import torch
from torch.nn import functional as F


def normal(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def repeated(n, d, seed):
    X = normal(n, d, seed)
    X[:, 1] = X[:, 0]
    return X


def scaled_copy(factor):
    def build(n, d, seed):
        X = normal(n, d, seed)
        X[:, 1] = factor * X[:, 0]
        return X

    return build


def with_their_sum(n, d, seed):
    X = normal(n, d, seed)
    X[:, -1] = X[:, :-1].sum(dim=1)
    return X


def one_hot(n, d, seed):
    """Beside an intercept, the columns sum up to it."""
    return F.one_hot(normal(n, d, seed).argmax(dim=1), d).double()


def constant(n, d, seed):
    X = normal(n, d, seed)
    X[:, 0] = 7.3
    return X


def of_low_rank(rank):
    return lambda n, d, seed: normal(n, rank, seed) @ normal(rank, d, seed + 1)


def of_many_scales(n, d, seed):
    X = normal(n, d, seed) * torch.logspace(-3, 3, d, dtype=torch.float64)
    X[:, -1] = X[:, :-1].sum(dim=1)
    return X


COLLINEAR = [
    repeated, *(scaled_copy(10.0**k) for k in range(-3, 4)), with_their_sum, one_hot, constant, of_low_rank(1),
    of_low_rank(2), of_many_scales,
]  # fmt: skip
