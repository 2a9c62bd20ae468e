"""What the service keeps track of: learners, which fit a model to loads and know how it forgets, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from unlearn.checks import BoolArray, IntArray, short_repr
from unlearn.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from unlearn.data import LoadDataset
    from unlearn.grid import OperatingCost

#: What a deletion guarantees: a model that is the one fitted without what is removed, solved or trained anew; an (ε, δ)
#: between both; or none, so that measurements alone say what is left.
EXACT, CERTIFIED, EMPIRICAL = "exact", "certified", "empirical"
GUARANTEES = (EXACT, CERTIFIED, EMPIRICAL)

#: What of a data set a request names.
CUSTOMERS, LOADS, HOURS = "customers", "loads", "hours"
SUBJECTS = (CUSTOMERS, LOADS, HOURS)


@short_repr
@dataclass(frozen=True, eq=False)
class Change:
    """What a request changes in the data that models learnt from.

    Attributes:
        subject: one of `SUBJECTS`.
        before: the data set that models were fitted on.
        after: the data set without what is removed: nothing of it is left in there.
        customers: names of the customers that are removed; with `LOADS`, all of the loads that are withdrawn.
        loads: names of the loads that are withdrawn, or whose measurements in `rows` are removed; None means all.
        rows: of `before`, that are removed or, of customers, in which their readings are; shape (n,).
        case: "leaves" or "objects", of customers.
        replacement: what fills the gap of objectors; see `CustomerLoads.without`.
        whole: whether customers are removed in all their hours.
        hours: of the customers' meters, in which their readings are removed; None is all.
        left_out: measurements of `after` that were removed in place, now or before, shape (N, B): their loads are 0,
            and no model may learn them.
    """

    subject: str
    before: LoadDataset
    after: LoadDataset
    customers: tuple[str, ...] = ()
    loads: tuple[str, ...] | None = None
    rows: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    case: str = "leaves"
    replacement: str | None = None
    whole: bool = True
    hours: pd.DatetimeIndex | None = None
    left_out: BoolArray = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))


@dataclass(frozen=True)
class Constant:
    """Something in a model that was fitted to rows, and what became of it.

    Attributes:
        name: such as "head", "kept sums", "feature scaler", "load scale", "extractor".
        saw: whether rows that are removed were among those it was fitted on.
        refitted: whether it was fitted anew without them.
        note: how, or why not; a sentence.
    """

    name: str
    saw: bool
    refitted: bool
    note: str = ""


@dataclass(frozen=True)
class Route:
    """How a model would forget, said before anything is done.

    Attributes:
        method: such as "update of kept sums", "fitted anew", "trained anew", "1 of 4 shards trained anew".
        guarantee: one of `GUARANTEES`.
        trains: whether a network or generator is trained, which takes as long as it took.
        why: a sentence: why this way, and not a cheaper one.
    """

    method: str
    guarantee: str
    trains: bool
    why: str


@dataclass(frozen=True, eq=False)
class Outcome:
    """What forgetting did to one model.

    Attributes:
        model: the new one; fitted to `Change.after`.
        route: how it was done.
        complete: whether nothing of what was removed is left in any part of the model.
        constants: every part that was fitted to rows.
        limitations: what still depends on what was removed, in sentences.
        seconds: wall time by stage.
        numbers: what was measured, by name, such as `residual_gradient` or `distance_to_retrained`; None is not known.
    """

    model: Any
    route: Route
    complete: bool
    constants: tuple[Constant, ...] = ()
    limitations: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured about a model before and after it forgot.

    Attributes:
        numbers: by name.
        effect: rows of `method`, `split`, `mse_pu2`, `mape_percent` and `cost_per_hour`.
        said: in sentences.
    """

    numbers: Mapping[str, float | None] = field(default_factory=dict)
    effect: tuple[Mapping[str, Any], ...] = ()
    said: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Foreseen:
    """What forgetting would do to a model.

    Attributes:
        route: how; None where there is nothing to remove.
        outcome: what came of trying; None where that would take a training.
        effect: as in `Measured`, with a method for each tuning.
    """

    route: Route | None
    outcome: Outcome | None = None
    effect: tuple[Mapping[str, Any], ...] = ()


class Learner(Protocol):
    """A kind of model with its settings: a frozen dataclass of plain values, which JSON can hold.

    Attributes:
        kind: its name in `LEARNERS` and in the registry of artefacts.
        repeats: whether the same data give the same model again, on one machine; noise from the system does not.
    """

    kind: ClassVar[str]
    repeats: ClassVar[bool] = True

    def settings(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Learner:
        """The learner with these settings, as `dataclasses.asdict` gives them and JSON has them."""
        ...

    def fit(self, dataset: LoadDataset, left_out: BoolArray | None = None) -> Any:
        """Fit a model to the training rows of a data set.

        Args:
            dataset: what it learns from.
            left_out: measurements that it may not learn, shape (N, B); None is none.

        Raises:
            InputError: a data set that it cannot learn from.
        """
        ...

    def save(self, model: Any, folder: Path) -> None:
        """Write a model into an empty folder."""
        ...

    def load(self, folder: Path) -> Any:
        """Read what `save` wrote.

        Raises:
            DataError: a damaged file.
        """
        ...

    def route(self, model: Any, change: Change) -> Route | None:
        """How the model would forget, found without doing it; None where it learnt nothing of what is removed."""
        ...

    def carried(self, model: Any, change: Change) -> Any:
        """The model, which learnt nothing of what is removed, on the data set after the change; `route` is None."""
        return model

    def forget(self, model: Any, change: Change) -> Outcome:
        """The model without what is removed; `route` is not None.

        Raises:
            InputError: what remains is too little to fit the model to.
        """
        ...

    def foresee(self, model: Any, change: Change, grid: OperatingCost | None, tunings: Sequence[str] = ()) -> Foreseen:
        """What forgetting would do, without keeping it; a model that has to be trained anew is not."""
        return Foreseen(self.route(model, change))

    def measure(self, model: Any, outcome: Outcome, change: Change, grid: OperatingCost | None) -> Measured:
        """Evidence: what an independent look at the model before and after says; nothing where there is none."""
        return Measured()

    def recompute(self, model: Any, dataset: LoadDataset, left_out: BoolArray) -> Mapping[str, float]:
        """What an exact model has none of, computed from the data alone: distances by name, 0 up to rounding."""
        return {}


#: Learners by kind.
LEARNERS: Registry[type[Learner]] = Registry(
    "kind of model",
    {
        "forecaster": "unlearn.services.learners.forecasting:ForecastLearner",
        "generator": "unlearn.services.learners.retrained:GeneratorLearner",
        "detector": "unlearn.services.learners.retrained:DetectorLearner",
        "certified": "unlearn.services.learners.certified:CertifiedLearner",
    },
)
