"""The claims of the paper's figures on real loads (GEFCom2012, 2007); `make test-network` downloads them once."""

import numpy as np
import pandas as pd
import pytest
import torch

import unlearn
from unlearn.studies._shared.study import Study
from unlearn.studies.paper.run import completeness, tradeoff
from unlearn.studies.paper.verdict import check_claims

pytestmark = pytest.mark.network
SHARES = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3]


@pytest.fixture(scope="module")
def real(grid):
    """The published protocol's data: 80/20, loads scaled over the whole year."""
    return unlearn.load_dataset(
        "gefcom2012", split=unlearn.PUBLISHED, nominal_mw=grid.nominal_load_mw, scale_over="all"
    )


@pytest.mark.parametrize("kind", ["linear", "cnn", "mixer"])
def test_complete_unlearning_equals_retraining_on_real_loads(real, kind):
    training = unlearn.TrainingOptions(epochs=3)
    model = unlearn.fit_linear(real) if kind == "linear" else unlearn.fit_network(real, kind, training)
    for share in SHARES:
        rows = unlearn.select.at_random(model.training_rows(real), share)
        assert unlearn.forget(model, real, rows, compare_retrained=True).distance_to_retrained <= 1e-8


def test_figure_6_on_real_loads(real, cost):
    study = Study(unlearn.fit_linear(real), real, cost, protocol="published")
    budgets = [round(0.025 * step, 3) for step in range(11)]
    records = pd.concat([tradeoff(study, 0.25, budgets), completeness(study, [0.25])], ignore_index=True)
    for claim in check_claims(records):
        assert claim.holds, f"{claim.sentence} {claim.figures}"


def test_the_gradient_is_right_on_200_real_hours(real, cost):
    rows = np.sort(np.random.default_rng(1).choice(real.split.train, 200, replace=False))
    forecast = torch.from_numpy(unlearn.fit_linear(real).forecast(real.features[rows]))
    load = torch.from_numpy(real.load_pu[rows])
    asked = forecast.clone().requires_grad_()
    cost(asked, load).total.sum().backward()
    steps = 1e-5 * torch.eye(real.n_loads, dtype=torch.float64)
    loads = load.repeat_interleave(real.n_loads, dim=0)
    above, below = (
        unlearn.price_hours(cost, (forecast[:, None] + side * steps).reshape(-1, real.n_loads), loads).total
        for side in (1, -1)
    )
    truth = ((above - below) / 2e-5).reshape(forecast.shape)
    error = (asked.grad - truth).abs() / truth.abs().clamp(min=1)
    # 99 %: where a step crosses a kink of the piecewise quadratic cost, the difference quotient is wrong.
    assert float((error <= 1e-3).double().mean()) >= 0.99
