"""Task-aware machine unlearning for load forecasting, priced on the grid.

>>> import unlearn
>>> grid = unlearn.load_case("ieee14")
>>> data = unlearn.load_dataset("synthetic", nominal_mw=grid.nominal_load_mw)
>>> model = unlearn.fit_linear(data)
>>> result = unlearn.forget(model, data, rows=range(500))
>>> useful = unlearn.tune(result.model, data, "cost", "scale", grid=grid)
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.criteria import MAPE, MSE, Criterion, OperatingCostCriterion, make_criterion
    from unlearn.data import FAIR, PUBLISHED, Lags, LoadDataset, SplitSpec, dataset_from_frames, load_dataset
    from unlearn.errors import UnlearnError
    from unlearn.forecasters import (
        Forecaster,
        TrainingOptions,
        fit_linear,
        fit_network,
        load_forecaster,
        save_forecaster,
    )
    from unlearn.grid import CostBreakdown, GridCase, OperatingCost, load_case, price_hours
    from unlearn.households.assignment import customer_loads
    from unlearn.households.by_household import split_households
    from unlearn.households.customers import CustomerLoads
    from unlearn.households.io.meters import hourly_meters, load_meters
    from unlearn.households.io.sources import load_buildings, load_households
    from unlearn.influence import criterion_gradient, customer_influence, influence_scores
    from unlearn.linalg import IhvpOptions
    from unlearn.unlearning import (
        Forgotten,
        ForgottenCustomers,
        Reweighting,
        TrainedModule,
        Tuned,
        Tuning,
        WithdrawnLoads,
        forget,
        forget_customers,
        forget_rows,
        newton_update,
        retrain,
        reweight,
        select,
        tune,
        withdraw_loads,
    )
else:
    __getattr__, __dir__ = lazily(__name__)

__version__ = "0.1.0"

__all__ = [
    # data
    "FAIR", "PUBLISHED", "Lags", "LoadDataset", "SplitSpec", "dataset_from_frames", "load_dataset",
    # households
    "load_households", "split_households",
    # customers: meters that loads are sums of
    "CustomerLoads", "customer_loads", "hourly_meters", "load_meters",
    # buildings: hourly readings, each hour normal or anomalous
    "load_buildings",
    # the grid, and what a forecast costs on it
    "CostBreakdown", "GridCase", "OperatingCost", "load_case", "price_hours",
    # forecasters
    "Forecaster", "TrainingOptions", "fit_linear", "fit_network", "load_forecaster", "save_forecaster",
    # criteria and influence
    "MAPE", "MSE", "Criterion", "OperatingCostCriterion", "criterion_gradient", "customer_influence",
    "influence_scores", "make_criterion",
    # forgetting
    "Forgotten", "ForgottenCustomers", "IhvpOptions", "Reweighting", "forget", "forget_customers", "forget_rows",
    "WithdrawnLoads", "newton_update", "retrain", "reweight", "select", "withdraw_loads",
    # making a model useful again from what remains; methods as objects are in unlearn.unlearning.tuning
    "Tuned", "Tuning", "tune",
    # any PyTorch model; more of it in unlearn.influence
    "TrainedModule",
    # errors
    "UnlearnError",
]  # fmt: skip
