"""`ModelCard`: what a saved model says of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from unlearn.data import LoadDataset
from unlearn.records import provenance

#: `ModelCard.head_rows` of a network that was trained as a whole: its last layer is no minimiser over rows of its own.
NO_ROWS = "none"


@dataclass(frozen=True)
class ModelCard:
    """What a saved model says of itself; everything in it is JSON.

    Attributes:
        kind: "linear", "cnn" or "mixer".
        data: name of the data set it was fitted on.
        fingerprint: fingerprint of that data set, loads, features and split.
        load_names: B names, in the order of the outputs.
        feature_names: F names, in the order of the inputs.
        split: rows in each part of the split, and the shares and seed that gave them.
        first_hour: start of the data set's first hour; its rows are the hours from there on.
        head_rows: "train" or "sensitive", the rows that the head was fitted on; "none" if it was trained with the rest.
        seed: seed of training.
        l2: regulariser of the head.
        settings: architecture and training options.
        fitted: preprocessing constants and the rows they saw.
        lags: features that hold loads of other hours: feature, load and hours of each.
        history: training record (losses per epoch, best epoch).
        versions: versions of the packages at training.
        forgotten: what was forgotten since, a step each, in order.
        tuned: recipe and parameters of the tuning of its forecasts, empty where there is none; see `unlearn.tune`.
        limitations: what such a model cannot do, and what of it other rows have shaped, in sentences.
    """

    kind: str
    data: str
    fingerprint: str
    load_names: list[str]
    feature_names: list[str]
    split: dict[str, Any]
    head_rows: str
    first_hour: str = ""
    seed: int = 0
    l2: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    fitted: list[dict[str, str]] = field(default_factory=list)
    lags: list[dict[str, Any]] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    forgotten: list[dict[str, Any]] = field(default_factory=list)
    tuned: dict[str, Any] = field(default_factory=dict)
    limitations: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_card(
    kind: str,
    dataset: LoadDataset,
    *,
    head_rows: str,
    scaler_rows: str,
    columns_rows: str = "train",
    seed: int = 0,
    l2: float = 0.0,
    settings: dict[str, Any] | None = None,
    history: dict[str, Any] | None = None,
    extractor: dict[str, str] | None = None,
) -> ModelCard:
    """Describe a model fitted on `dataset`.

    `..._rows` say which rows feature scaler and choice of columns saw; `extractor` what is to be said of one that was
    fitted elsewhere.
    """
    fitted = [{"name": c.name, "fitted_on": c.fitted_on, "description": c.description} for c in dataset.fitted]
    if extractor is not None:
        learnt = [extractor]
    elif head_rows == "sensitive":
        core = f"core ({len(dataset.split.core)} training rows; none of them is forgotten)"
        learnt = [{"name": "extractor and feature scaler", "fitted_on": core, "description": "frozen"}]
    elif head_rows == NO_ROWS:
        learnt = [{"name": "network and its scalers", "fitted_on": scaler_rows, "description": "trained as a whole"}]
    else:
        learnt = [
            {
                "name": "choice of columns",
                "fitted_on": columns_rows,
                "description": "repeated or constant ones left out",
            },
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
