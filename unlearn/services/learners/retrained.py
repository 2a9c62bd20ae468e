"""Kinds of models that have no exact removal and are trained anew: generators of profiles, detectors of anomalies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from unlearn.checks import BoolArray, IntArray, require_choice, require_count
from unlearn.detectors.base import DETECTORS, Detector, FittedDetector, fit_candidates
from unlearn.detectors.storage import load_detector, save_detector
from unlearn.detectors.windows import DivisionOptions, Windows, cut_windows, scale, usable_buildings
from unlearn.errors import InputError
from unlearn.generators.faraday.generators import FaradayOptions
from unlearn.generators.faraday.model import Faraday, fit_faraday, load_faraday, save_faraday
from unlearn.households.by_household import HouseholdProfiles
from unlearn.households.customers import CustomerLoads
from unlearn.registry import settings_of
from unlearn.services.learners.learnable import daily_profiles, hourly_series, left_out_in, of_customers
from unlearn.services.learners.removed_examples import audit_profiles, audit_windows
from unlearn.services.learners.retraining import ShardedLearner, ShardPlan, built
from unlearn.services.learners.shards import Sharded, ShardedDetector, ShardedGenerator


@dataclass(frozen=True)
class GeneratorLearner(ShardedLearner[HouseholdProfiles, Faraday]):
    """Faraday, fitted on whole training days of the customers.

    >>> import unlearn
    >>> from unlearn.generators.faraday import MixtureOptions, VaeOptions
    >>> from unlearn.households import simulate_households, spread
    >>> from unlearn.services.base import Change
    >>> meters = unlearn.hourly_meters(simulate_households(30, n_days=30))
    >>> data = unlearn.customer_loads(meters, spread(meters.customer_ids, 2))
    >>> small = FaradayOptions(VaeOptions(latent=2, hidden=8, epochs=1), MixtureOptions(n_components=2))
    >>> learner = GeneratorLearner(small, shards=2)
    >>> model = learner.fit(data)
    >>> change = Change("customers", data, data.without(["SIM000007"]), ("SIM000007",))
    >>> learner.route(model, change).method
    '1 of 2 shards trained anew'
    >>> done = learner.forget(model, change)
    >>> done.complete, done.numbers["profiles_before"] - done.numbers["profiles_after"]
    (True, 21.0)

    Attributes:
        options: of the network and the mixture.
        seed: of training, and of the hash that assigns customers to shards.
        shards: models that customers are divided between; a request of one customer trains one of them anew.
    """

    kind: ClassVar[str] = "generator"
    title: ClassVar[str] = "Faraday"
    unit: ClassVar[str] = "profiles"
    model_class: ClassVar[type[Sharded[Any]]] = ShardedGenerator
    fitted_parts: ClassVar[Mapping[str, str]] = {
        "energy scaler": "Mean and deviation of what remains.",
        "label space": "Customer classes of those who remain.",
        "network": "Trained anew from first weights that the seed draws.",
        "early stopping": "Stopped by customers who remain.",
        "mixture": "Fitted anew to latents of what remains.",
        "residual copula": "Fitted anew to what remains.",
    }

    options: FaradayOptions = field(default_factory=FaradayOptions)
    seed: int = 0
    shards: int = 1

    def __post_init__(self) -> None:
        require_count("shards", self.shards)

    def _examples(self, dataset: CustomerLoads, left_out: BoolArray) -> HouseholdProfiles:
        return daily_profiles(dataset, dataset.split.train, left_out)

    def _customers(self, examples: HouseholdProfiles) -> Sequence[str]:
        return [str(own) for own in examples.households["household_id"]]

    def _of(self, examples: HouseholdProfiles, chosen: BoolArray) -> HouseholdProfiles:
        return of_customers(examples, chosen)

    def _fingerprint(self, examples: HouseholdProfiles) -> str:
        return examples.fingerprint

    def _least(self) -> int:
        return max(2, self.options.mixture.n_components)

    def _train(self, examples: HouseholdProfiles, seed: int) -> Faraday:
        return fit_faraday(examples, self.options, seed)

    def _save_part(self, part: Faraday, folder: Path) -> object:
        return save_faraday(part, folder)

    def _load_part(self, folder: Path) -> Faraday:
        return load_faraday(folder)

    def _limitations(self) -> tuple[str, ...]:
        return (
            "Profiles that the generator released before are not called back: they may resemble the days of whoever "
            "is removed. Destroy them, or release anew.",
        )

    def _audit(
        self, old: ShardedGenerator, new: ShardedGenerator, dataset: CustomerLoads, plan: ShardPlan[HouseholdProfiles]
    ) -> dict[str, float | None]:
        unseen = np.concatenate([dataset.split.validation, dataset.split.test])
        others = daily_profiles(dataset, unseen, left_out_in(dataset, old.left_out))
        return audit_profiles(old, new, plan.before, plan.after, others, self.seed)


@dataclass(frozen=True)
class DetectorLearner(ShardedLearner[Windows, FittedDetector]):
    """A detector of anomalies, fitted on windows of the customers' hourly readings in training rows.

    Of several candidates the first is kept, for nobody labelled anomalies to choose by.

    Attributes:
        detector: its name in `DETECTORS`.
        options: its settings, as plain values; those that are not given are its defaults.
        length: hours of a window.
        stride: hours between the starts of windows.
        least_hours: training readings that a customer needs.
        limit: where scaled values are cut off.
        seed: of training, and of the hash that assigns customers to shards.
        shards: models that customers are divided between; a request of one customer trains one of them anew.

    Raises:
        InputError: a detector that cannot be saved, or settings that it does not have.
    """

    kind: ClassVar[str] = "detector"
    unit: ClassVar[str] = "windows"
    model_class: ClassVar[type[Sharded[Any]]] = ShardedDetector
    fitted_parts: ClassVar[Mapping[str, str]] = {
        "scales of customers": "Each customer's own, from training rows; those of who is removed are gone.",
        "network": "Trained anew from first weights that the seed draws.",
        "early stopping": "Stopped by customers who remain.",
    }

    detector: str = "autoencoder"
    options: Mapping[str, Any] = field(default_factory=dict)
    length: int = DivisionOptions.length
    stride: int = DivisionOptions.training_stride
    least_hours: int = DivisionOptions.least_hours
    limit: float = DivisionOptions.limit
    seed: int = 0
    shards: int = 1

    def __post_init__(self) -> None:
        for name in ("length", "stride", "least_hours", "shards"):
            require_count(name, getattr(self, name))
        require_choice("detector", self.detector, DETECTORS)
        if DETECTORS[self.detector].load.__func__ is Detector.load.__func__:  # type: ignore[attr-defined]
            keeps = [own for own in DETECTORS if DETECTORS[own].load.__func__ is not Detector.load.__func__]  # type: ignore[attr-defined]
            raise InputError(
                f"detector: expected one that can be saved and read again ({', '.join(keeps)}), got {self.detector!r}: "
                "there is no format for it but pickles, which run code when they are read, or none to read it by."
            )
        object.__setattr__(self, "options", settings_of(self._detector()))

    @property
    def title(self) -> str:  # type: ignore[override]
        """What figures call the detector."""
        return DETECTORS[self.detector].label

    def _detector(self) -> Detector:
        return built(DETECTORS[self.detector], self.options, self.detector)

    def windows(self, dataset: CustomerLoads, rows: IntArray, left_out: BoolArray | None = None) -> Windows | None:
        """Windows of customers in some rows, each customer scaled by its training rows; None where none fits.

        Args:
            dataset: loads that know their customers.
            rows: that windows may contain.
            left_out: hours of each load whose measurements were removed, shape (N, B).
        """
        n_rows = len(dataset.timestamps)
        fitted, within = np.zeros(n_rows, dtype=bool), np.zeros(n_rows, dtype=bool)
        fitted[dataset.split.train], within[rows] = True, True
        series = hourly_series(dataset, np.flatnonzero(fitted | within), left_out)
        series = series.take(usable_buildings(series, fitted, self.least_hours).kept)
        there = np.isfinite(series.kwh) & within
        run = np.asarray(sliding_window_view(there, min(self.length, n_rows), axis=1).all(axis=2))
        if n_rows < self.length or not run.any():
            return None
        # Customers without a window are left out, so that nothing depends on them.
        return cut_windows(scale(series.take(run.any(axis=1)), fitted, self.limit), self.length, self.stride, within)

    def _examples(self, dataset: CustomerLoads, left_out: BoolArray) -> Windows:
        found = self.windows(dataset, dataset.split.train, left_out)
        if found is None:
            raise InputError(
                f"{dataset.name}: expected customers with {self.length} training hours in a row and {self.least_hours} "
                "in all, got none. Lower length or least_hours, give more days, or withdraw the detector."
            )
        return found

    def _customers(self, examples: Windows) -> Sequence[str]:
        return examples.series.series.buildings

    def _of(self, examples: Windows, chosen: BoolArray) -> Windows:
        kept = chosen[examples.building]
        scaled = examples.series
        part = replace(
            scaled,
            series=scaled.series.take(chosen),
            value=scaled.value[chosen],
            low=scaled.low[chosen],
            high=scaled.high[chosen],
        )
        position = np.cumsum(chosen) - 1
        return replace(examples.take(kept), building=position[examples.building[kept]], series=part)

    def _fingerprint(self, examples: Windows) -> str:
        digest = hashlib.sha256(examples.series.series.fingerprint.encode())
        for array in (examples.building, examples.start, examples.values):
            digest.update(np.ascontiguousarray(array).tobytes() + b"|")
        return digest.hexdigest()

    def _least(self) -> int:
        return 2

    def _train(self, examples: Windows, seed: int) -> FittedDetector:
        return fit_candidates(self._detector(), examples, seed)[0]

    def _save_part(self, part: FittedDetector, folder: Path) -> object:
        return save_detector(part, folder)

    def _load_part(self, folder: Path) -> FittedDetector:
        return load_detector(folder)

    def _audit(
        self, old: ShardedDetector, new: ShardedDetector, dataset: CustomerLoads, plan: ShardPlan[Windows]
    ) -> dict[str, float | None]:
        unseen = np.concatenate([dataset.split.validation, dataset.split.test])
        others = self.windows(dataset, np.sort(unseen), left_out_in(dataset, old.left_out))
        return audit_windows(old, new, plan.before, plan.after, others, self.seed)
