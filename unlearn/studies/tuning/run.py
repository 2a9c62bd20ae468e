"""From a cell to its records: what is measured in each part of the study, and kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from unlearn.forecasters.specs import ForecasterSpec
from unlearn.grid import OperatingCost
from unlearn.records import joined
from unlearn.store import Store
from unlearn.studies._shared.study import Study
from unlearn.studies.tuning.cells import Cell
from unlearn.studies.tuning.measure import Deletion, month_rows, with_chosen
from unlearn.studies.tuning.options import TuningOptions


def with_ratio(cost: OperatingCost, ratio: float | None) -> OperatingCost:
    """A grid on which shedding costs so many times what storing does; the price of shedding stays.

    Args:
        cost: the grid.
        ratio: of prices, of first and second order; None, or the grid's own, leaves the grid as it is.
    """
    case = cost.case
    if ratio is None:
        return cost
    storage = (case.shedding_cost[0] / ratio, case.shedding_cost[1] / ratio)
    if all(abs(new - old) <= 1e-9 * abs(old) for new, old in zip(storage, case.storage_cost, strict=True)):
        return cost
    return cost.fresh(replace(case, storage_cost=storage))


def study_of(cell: Cell, base: Study, options: TuningOptions) -> Study:
    """The study of a cell from that of its forecaster: rows to forget, seed and prices are the cell's.

    Raises:
        InputError: a month without training rows.
    """
    own = {"seed": cell.seed, "cost": with_ratio(base.cost, cell.price_ratio), "selection": cell.selection}
    if cell.selection == "month":
        rows = month_rows(base.dataset, base.training_rows, options.month)
        own |= {"selection": "given", "given_rows": rows, "given_label": "month"}
    return replace(base, **own)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class _Kept:
    """A deletion whose parts are measured once, each under a key of what it depends on."""

    deletion: Deletion
    store: Store

    def __call__(self, name: str, make: Callable[..., pd.DataFrame], **options: object) -> pd.DataFrame:
        depends = self.deletion.dependencies(measured=make.__name__, **options)
        return self.store.table("tuning", re.sub(r"[^\w.-]+", "-", name), make=partial(make, **options), **depends)


def measure_cell(cell: Cell, base: Study, options: TuningOptions, store: Store, spec: ForecasterSpec) -> pd.DataFrame:
    """Records of one cell; what was measured before is taken from the store.

    Args:
        cell: what is forgotten and measured.
        base: a study of its forecaster, on the grid as it is.
        options: settings.
        store: keeps what is measured.
        spec: how the forecaster was made.

    Returns:
        Tidy records of the experiment "tuning", with the columns part, price_ratio and, in the part "front",
        mse_weight.

    Raises:
        InputError: what cannot be measured: no validation rows, a month without training rows.
    """
    study = study_of(cell, base, options)
    deletion = Deletion(study, cell.share)
    measured = _PARTS[cell.part](_Kept(deletion, store), options, spec)
    shedding, storage = study.cost.case.shedding_cost[1], study.cost.case.storage_cost[1]
    # A network trained anew is one more method of the comparison.
    part = "main" if cell.part == "whole_network" else cell.part
    return measured.assign(part=part, price_ratio=shedding / storage)


def _compared(kept: _Kept, options: TuningOptions, spec: ForecasterSpec) -> pd.DataFrame:
    budget = max(options.budgets(spec.exact))
    tables = [kept("published", kept.deletion.published, l1_budget=budget)]
    tables += [kept(name, kept.deletion.tuned, method=name, folds=options.folds) for name in options.methods]
    return with_chosen(joined(tables), options.methods)


def _whole_network(kept: _Kept, options: TuningOptions, spec: ForecasterSpec) -> pd.DataFrame:
    training = spec.training  # type: ignore[attr-defined]
    return kept("whole_network", kept.deletion.whole_network, training=training)


def _front(kept: _Kept, options: TuningOptions, spec: ForecasterSpec) -> pd.DataFrame:
    tables = []
    for method in ("scale", "head"):
        for weight in options.mse_weights:
            own = {"method": method, "folds": options.folds, "mse_weight": float(weight)}
            tables.append(kept(f"{method}-{weight:g}", kept.deletion.weighed, **own))
    return joined(tables)


def _steps(kept: _Kept, options: TuningOptions, spec: ForecasterSpec) -> pd.DataFrame:
    budgets = options.budgets(spec.exact)
    return joined(kept(f"steps-{budget:g}", kept.deletion.stepped, l1_budget=float(budget)) for budget in budgets)


def _audit(kept: _Kept, options: TuningOptions, spec: ForecasterSpec) -> pd.DataFrame:
    from unlearn.studies.tuning.audit import audit_records

    deletion, own = kept.deletion, options.audit
    depends = deletion.study.dependencies()
    found = {**depends, "code": (audit_records, *depends["code"])}
    found["options"] = {"study": depends["options"], "rows": deletion.rows, "audit": own}
    return kept.store.table("tuning", "audit", make=lambda: audit_records(deletion.study, deletion.share, own), **found)


_PARTS: dict[str, Callable[[_Kept, TuningOptions, ForecasterSpec], pd.DataFrame]] = {
    "main": _compared, "whole_network": _whole_network, "other": _compared, "prices": _compared, "front": _front,
    "steps": _steps, "audit": _audit,
}  # fmt: skip


#: What tells cells of the part "main" apart.
CELL = ("data", "grid", "forecaster", "selection", "proportion", "seed")


def costs_of(records: pd.DataFrame) -> pd.DataFrame:
    """Cost on test rows of each cell of the part "main", shape (cells, methods); TAMU and PAMU by their names."""
    own = records[(records["part"] == "main") & (records["metric"] == "cost") & (records["split"] == "test")]
    names = {"cost": "TAMU", "mse": "PAMU-MSE", "mape": "PAMU-MAPE"}
    method = own["method"].where(own["method"] != "reweighted", own["criterion"].map(names))
    return own.assign(method=method).pivot(index=list(CELL), columns="method", values="value")
