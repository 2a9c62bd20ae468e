"""From the settings of a program on loads to the library's objects: grid, data, forecaster, the rows to forget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from experiments.groups import STORE, Group
from experiments.settings import build_target
from unlearn.errors import InputError
from unlearn.grid.options import GRIDS
from unlearn.linalg.options import IhvpOptions
from unlearn.studies._shared.options import EvaluationOptions, LagOptions, SelectionOptions, SplitOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unlearn.checks import IntArray
    from unlearn.criteria import Criterion
    from unlearn.data import LoadDataset
    from unlearn.forecasters import Forecaster
    from unlearn.grid import OperatingCost
    from unlearn.store import Artefact, Store
    from unlearn.studies._shared.study import Study
    from unlearn.unlearning import Forgotten

#: Kind of kept forecasters, and where each lies in its folder, which others look into that want nothing else there.
KIND, MODEL = "forecaster", "model"

#: Sections of programs that need loads on a grid, that price forecasts of them, that fit one forecaster, or several.
DATA: dict[str, Any] = {
    "data": Group("data"),
    "grid": Group("grid"),
    "protocol": "fair",  # fair: gradient and selection on validation rows; published: on the test rows
    "split": SplitOptions,
    "lags": LagOptions,  # loads of earlier hours among the features, such as lags.hours=[24,168]
}
LOADS: dict[str, Any] = {
    **DATA,
    "seed": 0,  # of training, random selection and drawing
    "evaluation": EvaluationOptions,
    "store": STORE,
}
FORECASTER: dict[str, Any] = {**LOADS, "forecaster": Group("forecaster")}
FORECASTERS: dict[str, Any] = {**LOADS, "forecaster": Group("forecaster", many=True)}


def many_forecasters(job: Any) -> dict[str, Any]:
    """Jobs of each of several forecasters, by their names."""
    return {name: replace(job, forecaster=own) for name, own in job.forecaster.items()}


def build_criterion(job: Any, cost: OperatingCost) -> Criterion | None:
    """The configured criterion; None for complete unlearning."""
    return None if job.criterion is None else build_target(job.criterion, "criterion", grid=cost)


def build_dataset(job: Any, cost: OperatingCost) -> LoadDataset:
    """Load the data and scale it to the grid: over the whole year as published, or over training rows."""
    from unlearn.data import load_dataset

    over = "all" if job.protocol == "published" else "train"
    case = cost.case
    split, lags = job.split.spec(job.protocol), job.lags.chosen()
    if not hasattr(job.data, "n_loads"):
        dataset = load_dataset(job.data, split=split, lags=lags)
        if dataset.n_loads != len(case.nominal_load_mw):
            raise InputError(_other_grid(job, dataset, len(case.nominal_load_mw)))
        return dataset.scaled_to(case.nominal_load_mw, over, case.base_mva)
    return load_dataset(
        job.data, nominal_mw=case.nominal_load_mw, scale_over=over, base_mva=case.base_mva, split=split, lags=lags
    )


def _other_grid(job: Any, dataset: LoadDataset, n_buses: int) -> str:
    """What to do where the data has another number of loads than the grid has load buses."""
    from unlearn.grid import load_case

    names = ", ".join(dataset.load_names[:3]) + (", ..." if dataset.n_loads > 3 else "")
    fitting = [f"grid={name}" for name in GRIDS if len(load_case(name).nominal_load_mw) == dataset.n_loads]
    other = f"take {' or '.join(fitting)}, which has {dataset.n_loads}" if fitting else "take a grid of your own"
    return (
        f"data={job.data.name}: expected as many loads as {job.grid.case} has load buses, {n_buses}, got "
        f"{dataset.n_loads} ({names}). Either {other}, or change the number of loads."
    )


def build_study(
    job: Any,
    cost: OperatingCost | None = None,
    dataset: LoadDataset | None = None,
    own_criteria: Sequence[Criterion] = (),
) -> Study:
    """Grid, data and model together, under the job's protocol."""
    from unlearn.checks import require_choice
    from unlearn.criteria import CRITERIA, MAPE
    from unlearn.studies._shared.options import PROTOCOLS
    from unlearn.studies._shared.study import Study

    require_choice("protocol", job.protocol, PROTOCOLS)
    cost = cost or job.grid.build()
    dataset = dataset or build_dataset(job, cost)
    labels = _zero_loads(job, dataset)
    wanted = getattr(job, "unlearning", SelectionOptions())
    rows, label = given_rows(wanted, dataset)
    return Study(
        model=build_model(job, dataset),
        dataset=dataset,
        cost=cost,
        protocol=job.protocol,
        select_by=wanted.select_by or getattr(job.forecaster, "select_by", "mse"),
        selection=wanted.selection if rows is None else "given",
        given_rows=rows,
        given_label=label,
        hours=job.evaluation.hours,
        ihvp=getattr(job, "ihvp", IhvpOptions()),
        linf_budget=wanted.linf_budget,
        seed=job.seed,
        labels=labels,
        mape=MAPE(job.evaluation.leave_out_zero_loads),
        own_criteria=[own for own in own_criteria if own.name not in CRITERIA],
    )


def given_rows(wanted: SelectionOptions, dataset: LoadDataset) -> tuple[IntArray | None, str]:
    """Rows of the data set that a time range or a mask names, with a label; None where a share is picked."""
    from unlearn.data.hours import rows_between
    from unlearn.unlearning import select

    if wanted.selection == "time_range":
        start, end = str(wanted.start), str(wanted.end)
        rows = rows_between("unlearning.start, .end", dataset.timestamps, start, end)
        return rows, f"time_range {start} to {end}"
    if wanted.selection == "mask":
        return select.by_mask(_read_mask(str(wanted.mask)), len(dataset.timestamps)), f"mask {wanted.mask}"
    return None, ""


def _read_mask(path: str) -> Any:
    import pandas as pd

    from unlearn.data.files import foreign_errors

    wanted = "a parquet file with one boolean column"
    with foreign_errors(f"unlearning.mask: {path}", wanted):
        table = pd.read_parquet(path)
    if table.shape[1] != 1 or not pd.api.types.is_bool_dtype(table.dtypes.iloc[0]):
        kinds = ", ".join(f"{name} ({kind})" for name, kind in table.dtypes.items())
        raise InputError(f"unlearning.mask: {path}: expected {wanted}, got {kinds}.")
    return table.iloc[:, 0].to_numpy()


def _zero_loads(job: Any, dataset: LoadDataset) -> dict[str, object]:
    """Columns of the records that count the loads of 0 that MAPE leaves out.

    Raises:
        InputError: loads of 0 where they are not to be left out, or hours in which every load is 0.
    """
    zero = dataset.load_pu == 0
    if not zero.any():
        return {}
    allowed = job.evaluation.leave_out_zero_loads
    if allowed and not zero.all(axis=1).any():
        return {"zero_loads_left_out": int(zero.sum())}
    hour = int((zero.all(axis=1) if allowed else zero.any(axis=1)).argmax())
    when = dataset.timestamps[hour]
    if allowed:
        raise InputError(
            f"data: every load is 0 at {when}, so that hour has no MAPE. Take such hours out of the table."
        )
    raise InputError(
        f"data: {dataset.load_names[int(zero[hour].argmax())]} is 0 at {when} ({int(zero.sum())} such loads), and "
        "MAPE divides by the load. With evaluation.leave_out_zero_loads=true an hour's MAPE is over its other loads; "
        "or take such hours out of the table."
    )


def kept_model(job: Any, dataset: LoadDataset) -> Artefact:
    """What `build_model` keeps, whether it is there or not; the model lies in its folder `MODEL`."""
    return store_of(job).artefact(KIND, **_depends(job, dataset))


def build_model(job: Any, dataset: LoadDataset) -> Forecaster:
    """Fit the forecaster, or take the same one from the store; jobs that run at the same time agree on one."""
    from unlearn.forecasters import load_forecaster, save_forecaster

    found: Forecaster = store_of(job).get(
        KIND,
        make=lambda folder: save_forecaster(job.forecaster.fit(dataset, job.seed), folder / MODEL),
        read=lambda folder: load_forecaster(folder / MODEL, job.forecaster),
        **_depends(job, dataset),
    )
    return found


def store_of(job: Any) -> Store:
    """What is kept of all programs: it tells of customers, and is closed to others."""
    from unlearn.store import Store

    return Store(job.store, confidential=True)


def _depends(job: Any, dataset: LoadDataset) -> dict[str, Any]:
    return {
        "name": job.forecaster.name,
        "options": {"forecaster": job.forecaster, "seed": None if job.forecaster.exact else job.seed},
        "data": {"train": dataset},
        "code": [type(job.forecaster).fit],
        "packages": ["numpy", "scipy", "torch"],
    }


def forgotten(job: Any, study: Study, criterion: Criterion | None, l1_budget: float) -> Forgotten:
    """Forget the rows that the job names: completely, completely and then tuned, or re-weighted for its criterion."""
    from unlearn.studies._shared.options import PROTOCOLS
    from unlearn.unlearning import Tuning, forget, reweight

    wanted, rows = job.unlearning, study.rows_to_unlearn(job.unlearning.share)
    common: dict[str, Any] = {"ihvp": study.ihvp, "compare_retrained": True}
    if criterion is None or job.tuning is not None:
        tune = None if criterion is None else Tuning(study.criteria[criterion.name], job.tuning, folds=wanted.folds)
        common |= {"loads": wanted.loads, "form": wanted.form, "lagged": wanted.lagged}
        return forget(study.model, study.dataset, rows, tune=tune, **common)
    common |= {"evaluate_on": PROTOCOLS[job.protocol], "linf_budget": wanted.linf_budget}
    return reweight(study.model, study.dataset, rows, study.criteria[criterion.name], l1_budget, **common)
