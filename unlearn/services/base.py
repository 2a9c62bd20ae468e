"""What the service keeps track of: learners, which fit a model to loads and know how it forgets, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from unlearn.checks import IntArray, short_repr
from unlearn.data import LoadDataset
from unlearn.registry import Registry

#: What a deletion guarantees: parameters equal to those of a refit; an (ε, δ) between both; or a model trained anew, of
#: which measurements alone say that nothing is left.
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


class Learner(Protocol):
    """A kind of model with its settings: a frozen dataclass of plain values, which JSON can hold.

    Attributes:
        kind: its name in `LEARNERS` and in the registry of artefacts.
    """

    kind: ClassVar[str]

    def fit(self, dataset: LoadDataset) -> Any:
        """Fit a model to the training rows of a data set.

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

    def forget(self, model: Any, change: Change) -> Outcome:
        """The model without what is removed.

        Raises:
            InputError: what remains is too little to fit the model to.
        """
        ...


#: Learners by kind.
LEARNERS: Registry[type[Learner]] = Registry(
    "kind of model",
    {
        "forecaster": "unlearn.services.forecasting:ForecastLearner",
        "generator": "unlearn.services.retrained:GeneratorLearner",
        "detector": "unlearn.services.retrained:DetectorLearner",
    },
)
