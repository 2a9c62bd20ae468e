"""How a model card is filled in from a data set."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from unlearn.data import LoadDataset
from unlearn.forecasters.base import ModelCard
from unlearn.records import provenance


def make_card(
    kind: str,
    dataset: LoadDataset,
    *,
    head_rows: str,
    scaler_rows: str,
    seed: int = 0,
    l2: float = 0.0,
    settings: dict[str, Any] | None = None,
    history: dict[str, Any] | None = None,
) -> ModelCard:
    """Describe a model fitted on `dataset`; `scaler_rows` says what the feature scaler saw."""
    fitted = [{"name": c.name, "fitted_on": c.fitted_on, "description": c.description} for c in dataset.fitted]
    if head_rows == "sensitive":
        core = f"core ({len(dataset.split.core)} training rows; none of them is forgotten)"
        learnt = [{"name": "extractor and feature scaler", "fitted_on": core, "description": "frozen"}]
    else:
        learnt = [
            {"name": "choice of columns", "fitted_on": "train", "description": "repeated or constant ones left out"},
            {"name": "feature scaler", "fitted_on": scaler_rows, "description": "mean and standard deviation"},
        ]
    return ModelCard(
        kind=kind,
        data=dataset.name,
        fingerprint=dataset.fingerprint,
        load_names=list(dataset.load_names),
        feature_names=list(dataset.feature_names),
        split=dataset.split.describe(),
        head_rows=head_rows,
        first_hour=dataset.timestamps[0].isoformat(),
        seed=seed,
        l2=l2,
        settings=settings or {},
        fitted=[*fitted, *learnt],
        lags=[asdict(lag) for lag in dataset.lags],
        history=history or {},
        versions=provenance()["versions"],
    )
