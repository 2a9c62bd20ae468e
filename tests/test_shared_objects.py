"""Objects that cache or that stand on a shared network, used from eight threads, give what one thread gets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unlearn
from tests.influence.problems import Ridge
from unlearn.data import LoadDataset
from unlearn.forecasters import Forecaster
from unlearn.influence import AutogradInfluenceModule, CGInfluenceModule
from unlearn.influence.module import ModuleObjective

THREADS, CALLS = 8, 48

Call = Callable[[int], Any]


def network() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randn(40, size, generator=generator, dtype=torch.float64) for size in (6, 2))
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double(), inputs, targets


def influences(kind: Any, **options: Any) -> Call:
    model, inputs, targets = network()
    rows = DataLoader(TensorDataset(inputs, targets), batch_size=7)
    module = kind(model, Ridge(0.1), rows, rows, "cpu", damp=2.0, **options)
    return lambda k: module.influences([k % 40, (k + 3) % 40], [k % 11])


def objective() -> Call:
    model, inputs, targets = network()
    own = ModuleObjective(model, inputs, targets)
    theta = own.theta.detach()
    return lambda k: own.per_sample_gradients(theta * (1 + 0.01 * k)).detach()


def forecasts(model: Forecaster, data: LoadDataset) -> Call:
    return lambda k: model.forecast(data.features[k : k + 30])


def deletions(model: Forecaster, data: LoadDataset) -> Call:
    rows = model.training_rows(data)
    return lambda k: unlearn.forget(model, data, rows[k : k + 5]).model.theta


CASES: dict[str, Callable[[Forecaster, LoadDataset], Call]] = {
    "influences by CG": lambda *_: influences(CGInfluenceModule, gnh=True),
    "influences by a dense Hessian": lambda *_: influences(AutogradInfluenceModule),
    "gradients of a network": lambda *_: objective(),
    "forecasts": forecasts,
    "deletions": deletions,
}


@pytest.mark.parametrize("name", CASES)
def test_eight_threads_get_what_one_gets(name: str, cnn: Forecaster, dataset: LoadDataset) -> None:
    expected = [CASES[name](cnn, dataset)(k) for k in range(3)]
    shared = CASES[name](cnn, dataset)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(shared, [k % 3 for k in range(CALLS)]))
    for k, value in enumerate(found):
        np.testing.assert_allclose(np.asarray(value), np.asarray(expected[k % 3]), rtol=1e-6, atol=1e-9)
