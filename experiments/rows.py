"""Which rows a configuration asks to forget, and what is refused before anything is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from experiments.schema import Config
from unlearn.checks import IntArray, require_choice
from unlearn.criteria import CRITERIA
from unlearn.data import LoadDataset
from unlearn.data.files import foreign_errors
from unlearn.data.hours import rows_between
from unlearn.errors import InputError
from unlearn.studies._shared.study import PROTOCOLS, Study
from unlearn.unlearning import Forgotten, forget, reweight, select

SHARES = ("helpful", "harmful", "random")
GIVEN = ("time_range", "mask")


def check(config: Config) -> None:
    """Refuse a protocol or selection that cannot work."""
    require_choice("protocol", config.protocol, PROTOCOLS)
    wanted = config.unlearning
    require_choice("unlearning.selection", wanted.selection, (*SHARES, *GIVEN))
    if wanted.selection == "time_range" and not (wanted.start and wanted.end):
        raise InputError("unlearning=time_range: expected unlearning.start and unlearning.end, such as 2007-03-01.")
    if wanted.selection == "mask" and not wanted.mask:
        raise InputError("unlearning=mask: expected unlearning.mask, a parquet file with one boolean column.")


def refuse_loads_and_forms(config: Config, experiment: str) -> None:
    """Refuse options that only `unlearn` takes, rather than ignore them."""
    if config.unlearning.loads is not None or config.unlearning.form != "unlearn_gradient":
        raise InputError(
            f"{experiment} forgets whole rows in every form; unlearning.loads and .form are for unlearn with "
            "criterion=none."
        )


def refuse_other_options(config: Config) -> None:
    """Refuse options of complete unlearning beside a criterion, and the other way round."""
    if config.criterion.name is not None:
        refuse_loads_and_forms(config, "re-weighting")
    elif config.unlearning.l1_budget:
        raise InputError(
            f"unlearning.l1_budget={config.unlearning.l1_budget:g}: criterion=none forgets completely; leave it at 0, "
            f" or choose criterion={' or criterion='.join(CRITERIA)}."
        )


def forgotten(config: Config, study: Study) -> Forgotten:
    """Forget the rows that the configuration names: completely, or re-weighted for its criterion."""
    wanted, name = config.unlearning, config.criterion.name
    rows = study.rows_to_unlearn(wanted.share)
    common: dict[str, Any] = {"ihvp": study.ihvp, "compare_retrained": True}
    if name is None:
        return forget(study.model, study.dataset, rows, loads=wanted.loads, form=wanted.form, **common)
    return reweight(
        study.model,
        study.dataset,
        rows,
        study.criteria[name],
        wanted.l1_budget,
        evaluate_on=PROTOCOLS[config.protocol],
        linf_budget=wanted.linf_budget,
        **common,
    )


def given_rows(config: Config, dataset: LoadDataset) -> tuple[IntArray | None, str]:
    """Rows of the data set that a time range or a mask names, with a label; None where a share is picked."""
    wanted = config.unlearning
    if wanted.selection == "time_range":
        start, end = str(wanted.start), str(wanted.end)
        rows = rows_between("unlearning.start, .end", dataset.timestamps, start, end)
        return rows, f"time_range {start} to {end}"
    if wanted.selection == "mask":
        return select.by_mask(_read_mask(str(wanted.mask)), len(dataset.timestamps)), f"mask {wanted.mask}"
    return None, ""


def _read_mask(path: str) -> np.ndarray:
    wanted = "a parquet file with one boolean column"
    expected = f"unlearning.mask: {path}: expected {wanted}"
    with foreign_errors(f"unlearning.mask: {path}", wanted):
        table = pd.read_parquet(path)
    if table.shape[1] != 1 or not pd.api.types.is_bool_dtype(table.dtypes.iloc[0]):
        kinds = ", ".join(f"{name} ({kind})" for name, kind in table.dtypes.items())
        raise InputError(f"{expected}, got {kinds}.")
    return table.iloc[:, 0].to_numpy()
