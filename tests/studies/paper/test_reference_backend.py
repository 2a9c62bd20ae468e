"""Curves priced by the batched engine are those of the reference backend; what the published gradient changes."""

import pandas as pd
import pytest

from unlearn.data import LoadDataset
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.studies._shared.study import Study
from unlearn.studies.paper.run import completeness, published_derivative, tradeoff

BUDGETS = [0.0, 0.1, 0.2]
KEYS = ["experiment", "method", "criterion", "proportion", "l1_budget", "split", "metric"]


@pytest.fixture(scope="module")
def studies(grid: GridCase, cost: OperatingCost, dataset: LoadDataset, linear: Forecaster) -> dict[str, Study]:
    """The same study on a subsample of hours, priced and differentiated by either backend."""
    reference = OperatingCost(grid, "cvxpylayers")
    settings = {"protocol": "published", "select_by": "cost", "hours": 20}
    return {
        "batched": Study(linear, dataset, cost, **settings),
        "cvxpylayers": Study(linear, dataset, reference, **settings),
    }


def test_curves_are_those_of_the_reference_backend(studies: dict[str, Study]) -> None:
    tables = {
        name: pd.concat([tradeoff(study, 0.25, BUDGETS), completeness(study, [0.25])]).set_index(KEYS)["value"]
        for name, study in studies.items()
    }
    # A pixel of a figure is a thousandth of its height; cvxpylayers reaches KKT residuals of 1e-5.
    drawn = tables["batched"].index.get_level_values("metric").isin(["mse", "mape", "cost", "distance_to_retrained"])
    pd.testing.assert_series_equal(
        tables["batched"][drawn].sort_index(), tables["cvxpylayers"][drawn].sort_index(), rtol=1e-3, atol=1e-9
    )


def test_the_published_gradient_moves_other_weights_on_the_same_rows(studies: dict[str, Study]) -> None:
    study = studies["batched"]
    records = published_derivative(study, 0.25, BUDGETS)
    assert set(records["experiment"]) == {"derivative"}
    exact = tradeoff(study, 0.25, BUDGETS, ["cost"])

    def cost_of(table: pd.DataFrame) -> pd.Series:
        chosen = table[(table["metric"] == "cost") & (table["criterion"] == "cost")]
        return chosen.set_index("l1_budget")["value"].sort_index()

    # Nothing is re-weighted at 0, and the prices are the batched engine's.
    assert cost_of(records)[0.0] == pytest.approx(cost_of(exact)[0.0], rel=1e-12)
    assert (cost_of(records)[[0.1, 0.2]] != cost_of(exact)[[0.1, 0.2]]).all()
    single = records.set_index("metric")["value"]
    assert single["gradient_difference"] > 0.01
    assert -1.0 <= single["gradient_cosine"] <= 1.0
    assert studies["batched"].gradient_cost is None
