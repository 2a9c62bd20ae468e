"""What several test folders share: one grid, one priced grid, one small data set, fitted models."""

import os
from collections.abc import Callable, Iterator

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

import unlearn
from tests.proofs import proof_count
from unlearn.data import LoadDataset
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost

# Derandomised: a run repeats to the bit. Solves may be slow.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=proof_count(100),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# As `--hypothesis-profile=seeded --hypothesis-seed=N` asks: other examples.
settings.register_profile("seeded", settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draws from the global generators do not depend on which tests ran before."""
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Training that repeats: several threads add up in another order each time, and its steps make 1e-7 of that."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bits(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`bits(seed)`: from now on what the operating system's generator gives for noise, so that a test repeats."""

    def seeded(seed: int) -> None:
        monkeypatch.setattr("unlearn.dp.noise._from_os", np.random.default_rng(seed).bytes)

    return seeded


@pytest.fixture(scope="session")
def grid() -> GridCase:
    return unlearn.load_case("ieee14")


@pytest.fixture(scope="session")
def cost(grid: GridCase) -> OperatingCost:
    """The grid with its programs compiled, which takes about a second."""
    return OperatingCost(grid)


@pytest.fixture(scope="session")
def dataset(grid: GridCase) -> LoadDataset:
    """1,400 hours of 14 loads at the grid's size; 980 train, 140 validation, 280 test."""
    return unlearn.load_dataset("synthetic", n_hours=1400, nominal_mw=grid.nominal_load_mw)


@pytest.fixture(scope="session")
def linear(dataset: LoadDataset) -> Forecaster:
    return unlearn.fit_linear(dataset)


@pytest.fixture(scope="session")
def cnn(dataset: LoadDataset) -> Forecaster:
    return unlearn.fit_network(dataset, "cnn", unlearn.TrainingOptions(epochs=2, learning_rate=1e-3))


@pytest.fixture(scope="session")
def mixer(dataset: LoadDataset) -> Forecaster:
    return unlearn.fit_network(dataset, "mixer", unlearn.TrainingOptions(epochs=2, learning_rate=1e-3))


@pytest.fixture(params=["linear", "cnn", "mixer"])
def model(request: pytest.FixtureRequest) -> Forecaster:
    """Each of the three forecasters in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def hours(grid: GridCase) -> tuple[torch.Tensor, torch.Tensor]:
    """Forecasts and true loads of 200 random hours in p.u.: 40 to 100 % of nominal, errors of 0.05 p.u."""
    random = np.random.default_rng(0)
    load = random.uniform(0.4, 1.0, (200, grid.n_loads)) * grid.nominal_load_mw / grid.base_mva
    forecast = np.clip(load + random.normal(0.0, 0.05, load.shape), 0.0, None)
    return torch.from_numpy(forecast), torch.from_numpy(load)
