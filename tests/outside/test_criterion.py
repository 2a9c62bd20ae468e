"""A criterion of one's own, passed as an object: measured, differentiated, selected and re-weighted by."""

import numpy as np
import torch
from torch import Tensor

import unlearn
from unlearn.studies._shared.study import Study
from unlearn.studies.paper.run import sensitivity, tradeoff


class Shortfall:
    """Mean squared forecast below the load: what has to be bought in a hurry."""

    name, unit = "shortfall", "pu2"

    def __call__(self, forecast_pu: Tensor, load_pu: Tensor) -> Tensor:
        return (load_pu - forecast_pu).clamp_min(0).square().mean(dim=1)


def test_a_study_measures_selects_and_reweights_by_it(linear, dataset, cost) -> None:
    study = Study(linear, dataset, cost, hours=40, own_criteria=[Shortfall()], select_by="shortfall")
    records = tradeoff(study, 0.1, [0.0, 0.1], ["shortfall"])
    own = records[(records["metric"] == "shortfall") & (records["unit"] == "pu2")]
    assert set(own["method"]) == {"original", "retrained", "reweighted"}
    assert set(records["selection"]) == {"helpful/shortfall"}
    rows = study.priced_test_rows
    forecast, load = linear.forecast(dataset.features[rows]), dataset.load_pu[rows]
    expected = np.square(np.maximum(load - forecast, 0)).mean()
    np.testing.assert_allclose(own[own["method"] == "original"]["value"], expected)
    samples = sensitivity(study, 0.1, 20)[1]
    slope = unlearn.criterion_gradient(linear, Shortfall(), *on_validation(study))
    torch.testing.assert_close(slope.gradient, study.gradient("shortfall").gradient)
    assert samples["shortfall"].std() > 0


def on_validation(study: Study) -> tuple[np.ndarray, np.ndarray]:
    hours = np.linspace(0, len(study.dataset.split.validation) - 1, study.hours).round().astype(int)
    rows = study.dataset.split.validation[hours]
    return study.dataset.features[rows], study.dataset.load_pu[rows]
