"""What learners share whose models have no exact removal: data in shards, and training anew of those that change.

Training is a function of a shard's data and of settings with a seed. So a model trained anew on what remains is the
model that never saw what was removed: nothing is taken over from the one before, neither weights nor scales.
"""

from __future__ import annotations

import hashlib
import logging
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar, get_type_hints

import numpy as np
from tqdm import tqdm

from unlearn.checks import BoolArray, IntArray
from unlearn.data import LoadDataset
from unlearn.detectors.windows import Windows
from unlearn.errors import InputError, MismatchError
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.customers import CustomerLoads
from unlearn.records import config_hash
from unlearn.services.base import EXACT, Change, Constant, Learner, Outcome, Route
from unlearn.services.learners.learnable import hours_removed, left_out_in, ranges_of, require_customers
from unlearn.services.learners.shards import Sharded, shard_of

logger = logging.getLogger(__name__)

Examples = TypeVar("Examples", HouseholdProfiles, Windows)
Part = TypeVar("Part")

_SETTINGS = (
    "Settings and seed were kept. Whoever chose them by results on what is removed has to choose them again, for then "
    "they still depend on it."
)


class ShardPlan(NamedTuple, Generic[Examples]):
    """Training data of each shard before and after a change, and which shards it touches."""

    before: list[Examples]
    after: list[Examples]
    left_out: BoolArray
    touched: IntArray


class ShardedLearner(Learner, Generic[Examples, Part]):
    """What both kinds share: data in shards, and training anew of the shards that held what is removed.

    Attributes:
        seed: of training, and of the hash that assigns customers to shards.
        shards: K; a request trains about one of them anew instead of all.
    """

    #: What the kind of model is called, why it is trained anew, what it counts, and its fitted parts.
    title: ClassVar[str]
    unit: ClassVar[str]
    fitted_parts: ClassVar[Mapping[str, str]]

    seed: int
    shards: int
    model_class: ClassVar[type[Sharded[Any]]]

    @abstractmethod
    def _examples(self, dataset: CustomerLoads, left_out: BoolArray) -> Examples:
        """What may be learnt of the training rows, of all customers."""

    @abstractmethod
    def _customers(self, examples: Examples) -> Sequence[str]:
        """Names, by position in the examples."""

    @abstractmethod
    def _of(self, examples: Examples, chosen: BoolArray) -> Examples:
        """The examples of some customers."""

    @abstractmethod
    def _fingerprint(self, examples: Examples) -> str:
        """A hash of all that training depends on but settings."""

    @abstractmethod
    def _least(self) -> int:
        """Examples that a shard needs."""

    @abstractmethod
    def _train(self, examples: Examples, seed: int) -> Part: ...

    @abstractmethod
    def _save_part(self, part: Part, folder: Path) -> object: ...

    @abstractmethod
    def _load_part(self, folder: Path) -> Part: ...

    @abstractmethod
    def _audit(self, old: Any, new: Any, dataset: CustomerLoads, plan: ShardPlan[Examples]) -> dict[str, float | None]:
        """What tells removed examples from others that were never learnt, in the old model and in the new one."""

    @classmethod
    def from_settings(cls, values: Mapping[str, Any]) -> Self:
        """Build it from what `dataclasses.asdict` gave, also after a way through JSON; `kind` may stand among it.

        Raises:
            InputError: settings that it does not have, or unusable ones.
        """
        return built(cls, {name: value for name, value in values.items() if name != "kind"}, cls.kind)

    def fit(self, dataset: LoadDataset, left_out: BoolArray | None = None) -> Any:
        """Fit a model per shard to the training rows of a data set.

        Args:
            dataset: `CustomerLoads`.
            left_out: hours of each load whose measurements were removed before, shape (N, B). They stand as 0 in the
                meters, and are not to be learnt. None: there are none.

        Raises:
            InputError: a data set without customers, or a shard with too little to learn from.
        """
        own = require_customers(dataset)
        mask = left_out_in(own, {}) if left_out is None else left_out
        shards = self._split(own, mask)
        self._require_enough(shards, range(self.shards), f"Give more customers or days, or {self._fewer()}.")
        bar = tqdm(enumerate(shards), desc="shards", total=self.shards, delay=2, leave=False)
        return self._made([self._train(one, self.seed + k) for k, one in bar], shards, ranges_of(own, mask))

    def save(self, model: Any, folder: Path) -> None:
        """Write a model into a folder, a sub-folder per shard."""
        model.save(Path(folder), self._save_part)

    def load(self, folder: Path) -> Any:
        """Read what `save` wrote.

        Raises:
            DataError: a missing or damaged file; names it.
        """
        return self.model_class.load(Path(folder), self._load_part)

    def route(self, model: Any, change: Change) -> Route | None:
        """How many shards would be trained anew, and why; None where the model learnt nothing of what is removed.

        Raises:
            InputError: what remains is too little to train a shard on.
            MismatchError: the model was not fitted on `change.before` with these settings.
        """
        plan = self._plan(model, change)
        return self._route(plan) if len(plan.touched) else None

    def forget(self, model: Any, change: Change) -> Outcome:
        """Train anew the shards that held what is removed; the others keep their very parameters.

        The result is the model that `fit` makes of `change.after`, with the hours left out that were removed.

        Raises:
            InputError: what remains is too little to train a shard on, or the model learnt nothing of what is removed.
            MismatchError: the model was not fitted on `change.before` with these settings.
        """
        start = time.perf_counter()
        plan = self._plan(model, change)
        if not len(plan.touched):
            raise InputError(
                f"change: expected {self.unit} that the {self.kind} learnt, got none: they are in no training row, or "
                "the customers were not in the loads there. Leave the model as it is."
            )
        prepared = time.perf_counter()
        route, parts = self._route(plan), list(model.parts)
        logger.info("%s: %s", self.kind, route.method)
        for k in tqdm(plan.touched.tolist(), desc="shards", delay=2, leave=False):
            parts[k] = self._train(plan.after[k], self.seed + k)
        new = self._made(parts, plan.after, ranges_of(change.after, plan.left_out))
        trained = time.perf_counter()
        audit = self._audit(model, new, require_customers(change.before), plan)
        constants = {name: note + self._where(plan.touched) for name, note in self.fitted_parts.items()}
        if self.shards > 1:
            constants["shares of shards"] = "Examples of each shard, counted anew."
        return Outcome(
            model=new,
            route=route,
            complete=True,
            constants=tuple(Constant(name, True, True, note) for name, note in constants.items()),
            limitations=(_SETTINGS, *self._limitations()),
            seconds={
                "prepare": prepared - start,
                "train": trained - prepared,
                "audit": time.perf_counter() - trained,
            },
            numbers={
                f"{self.unit}_before": float(sum(model.sizes)),
                f"{self.unit}_after": float(sum(new.sizes)),
                "shards": float(self.shards),
                "shards_trained": float(len(plan.touched)),
                **audit,
            },
        )

    def _where(self, touched: IntArray) -> str:
        """Which shards were fitted anew; nothing where there is one."""
        if self.shards == 1:
            return ""
        which = f"shard{'s' * (len(touched) > 1)} {', '.join(map(str, touched.tolist()))}"
        return f" Done in {which}; the others never saw what is removed."

    def _limitations(self) -> tuple[str, ...]:
        return ()

    def _fewer(self) -> str:
        return "take fewer shards" if self.shards > 1 else "lower the settings"

    def _split(self, dataset: CustomerLoads, left_out: BoolArray) -> list[Examples]:
        """Examples of each shard."""
        every = self._examples(dataset, left_out)
        shard = shard_of(self._customers(every), self.shards, self.seed)
        return [self._of(every, shard == k) for k in range(self.shards)]

    def _plan(self, model: Any, change: Change) -> ShardPlan[Examples]:
        before, after = require_customers(change.before), require_customers(change.after)
        old = self._split(before, left_out_in(before, model.left_out))
        if self._fingerprints(old) != model.fingerprints:
            raise MismatchError(
                f"change: expected the data set that the {self.kind} was fitted on, and the settings it was fitted "
                "with, got other ones. Pass the learner and the data set that belong to it."
            )
        left_out = left_out_in(after, model.left_out) | hours_removed(change)
        new = self._split(after, left_out)
        pairs = zip(model.fingerprints, self._fingerprints(new), strict=True)
        touched = np.array([k for k, (was, now) in enumerate(pairs) if was != now], dtype=np.int64)
        self._require_enough(
            new,
            touched.tolist(),
            f"Too little remains after this request. Withdraw the {self.kind}, or train one with fewer shards or "
            "smaller settings on what remains.",
        )
        return ShardPlan(old, new, left_out, touched)

    def _require_enough(self, shards: Sequence[Examples], asked: Sequence[int], mend: str) -> None:
        least = self._least()
        for k in asked:
            customers, n = len(self._customers(shards[k])), len(shards[k])
            if customers < 2 or n < least:
                which = f"shard {k} of {self.shards}" if self.shards > 1 else self.kind
                raise InputError(
                    f"{which}: expected at least {least} training {self.unit} of at least 2 customers, one to train on "
                    f"and one for early stopping, got {n} of {customers}. {mend}"
                )

    def _fingerprints(self, shards: Sequence[Examples]) -> tuple[str, ...]:
        settings = config_hash(asdict(self))  # type: ignore[call-overload]
        prints = (f"{settings}:{self._fingerprint(one)}" for one in shards)
        return tuple(hashlib.sha256(own.encode()).hexdigest() for own in prints)

    def _made(self, parts: Sequence[Part], shards: Sequence[Examples], left_out: Mapping[str, Any]) -> Any:
        sizes = tuple(len(one) for one in shards)
        return self.model_class(tuple(parts), sizes, self._fingerprints(shards), left_out)

    def _route(self, plan: ShardPlan[Examples]) -> Route:
        n = len(plan.touched)
        if self.shards == 1:
            why = (
                f"{self.title} has no exact removal: it was trained on all customers together. With shards=4 a request "
                "of one customer would train a quarter."
            )
            return Route("trained anew", EXACT, True, why)
        why = f"{self.title} has no exact removal. What is removed is in {n} of {self.shards} shards."
        return Route(f"{n} of {self.shards} shards trained anew", EXACT, True, why)


Built = TypeVar("Built")


def built(cls: type[Built], values: Mapping[str, Any], where: str) -> Built:
    """Build a data class of settings from plain values, as `dataclasses.asdict` and JSON leave them.

    >>> from unlearn.generators.faraday import FaradayOptions
    >>> built(FaradayOptions, {"vae": {"latent": 2}}, "generator").vae.latent
    2

    Args:
        cls: the data class; fields that are data classes are built alike.
        values: by name; those that are not given are its defaults.
        where: what the settings are of, for messages.

    Raises:
        InputError: no mapping, a setting that it does not have, or an unusable one.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected settings by name, got {type(values).__name__}.")
    known = {own.name for own in fields(cls)}  # type: ignore[arg-type]
    if unknown := [name for name in values if name not in known]:
        raise InputError(f"{where}: expected settings among {', '.join(sorted(known))}; got {unknown[0]!r}.")
    kinds = get_type_hints(cls)
    return cls(
        **{
            name: built(kinds[name], value, f"{where}.{name}")
            if is_dataclass(kinds[name]) and not isinstance(value, kinds[name])
            else value
            for name, value in values.items()
        }
    )
