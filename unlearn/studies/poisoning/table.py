"""Reading the records of poisoned training data: costs over seeds, damage, and how much of it a mitigation recovers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from unlearn.criteria import program
from unlearn.detectors.base import label_of
from unlearn.errors import InputError
from unlearn.reporting.style import FORECASTER_NAMES, POISON_DETECTOR_NAMES
from unlearn.reporting.verdict import Spread, by_key, require_columns, require_one, select

#: Poisoned share that answers are given for.
REPORTED = 0.1

#: Share of the clean cost from which on, in the mean and with one sign in every seed, a change counts as one.
DAMAGE = 0.02

#: Share of the damage that unlearning is asked to recover.
ASKED = 0.5


def named(detector: str) -> str:
    """What a detector is called in text: one of this study, or of anomalies."""
    return POISON_DETECTOR_NAMES.get(detector) or label_of(detector)


class Attack(NamedTuple):
    """A kind of poison and its strength."""

    kind: str
    strength: float

    @property
    def name(self) -> str:
        """How it is called in text."""
        if self.kind == "noise":
            return f"noise of {100 * self.strength:.0f} %"
        return f"{self.kind} by {100 * self.strength:+.0f} %".replace("-", "−")


@dataclass(frozen=True)
class Mitigation:
    """What is done about what a detector flags."""

    method: str
    criterion: str | None = None
    l1_budget: float | None = None

    @property
    def name(self) -> str:
        """How it is called in text."""
        if self.criterion is None:
            return "complete unlearning"
        return f"{program(self.criterion)}, λ₁ = {self.l1_budget:g}"


COMPLETE = Mitigation("unlearnt")


#: What a number belongs to, apart from the seed.
_KEY = ("kind", "strength", "share", "method", "metric", "detector", "criterion", "l1_budget")


class PoisoningTable:
    """Numbers of one forecaster by attack, share, detector and mitigation, each over seeds."""

    def __init__(self, records: pd.DataFrame) -> None:
        """Take the records of `PoisonedStudy` over attacks, shares and seeds.

        Raises:
            InputError: records of something else, or of several forecasters or data sets.
        """
        if not (records["experiment"] == "poisoning").all():
            raise InputError("poisoning: expected records of poisoning; run it first.")
        require_columns("poisoning", records, "detector")
        about = require_one("poisoning", records, ["data", "grid", "forecaster", "protocol"], "forecaster and data set")
        self.records, self.about = records, about
        self._numbers = by_key(records, _KEY, ["seed", "value"])

    @property
    def forecaster(self) -> str:
        """The forecaster's name."""
        kind = str(self.about["forecaster"])
        return FORECASTER_NAMES.get(kind, kind)

    @cached_property
    def attacks(self) -> list[Attack]:
        """In the order of the records."""
        own = self.records[["kind", "strength"]].drop_duplicates()
        return [Attack(str(kind), float(strength)) for kind, strength in own.itertuples(index=False)]

    @cached_property
    def shares(self) -> list[float]:
        """Poisoned shares, ascending."""
        return sorted(float(share) for share in self.records["share"].unique())

    @property
    def share(self) -> float:
        """The share that is nearest to `REPORTED`."""
        return min(self.shares, key=lambda share: abs(share - REPORTED))

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds."""
        return sorted(int(seed) for seed in self.records["seed"].unique())

    @cached_property
    def detectors(self) -> list[str]:
        """Detectors that were asked at the reported share, "truth" first, "none" last."""
        own = select(self.records, method="detection", share=self.share)
        found = own["detector"].unique()
        known = [name for name in POISON_DETECTOR_NAMES if name in found]
        others = [str(name) for name in found if name not in known]
        return [*(n for n in known if n != "none"), *others, *(n for n in known if n == "none")]

    @property
    def blind(self) -> list[str]:
        """Detectors that do not know the truth and flag something."""
        return [name for name in self.detectors if name not in ("truth", "none")]

    def asked(self, attack: Attack, detector: str) -> list[float]:
        """Shares at which a detector was asked; slow ones may not be at all."""
        return [s for s in self.shares if (*attack, s, "detection", "recall", detector, "", "") in self._numbers]

    @cached_property
    def mitigations(self) -> list[Mitigation]:
        """Complete unlearning, then every re-weighting."""
        own = select(self.records, method="reweighted")
        kept = own[["criterion", "l1_budget"]].drop_duplicates().itertuples(index=False)
        return [COMPLETE, *(Mitigation("reweighted", str(c), float(budget)) for c, budget in kept)]

    def model(self, attack: Attack, share: float, method: str, metric: str = "cost") -> pd.Series:
        """A number of the method "clean" or "poisoned", by seed."""
        return self._by_seed(attack, share, method, metric)

    def mitigated(
        self, attack: Attack, share: float, detector: str, mitigation: Mitigation = COMPLETE, metric: str = "cost"
    ) -> pd.Series:
        """A number after a mitigation of what a detector flags, by seed; "clean": of the clean model, re-weighted."""
        return self._by_seed(
            attack, share, mitigation.method, metric, detector, mitigation.criterion, mitigation.l1_budget
        )

    def detection(self, attack: Attack, share: float, detector: str, metric: str) -> Spread:
        """How right a detector is: precision, recall, f1, roc_auc, flagged, false_alarms."""
        return Spread.of(self._by_seed(attack, share, "detection", metric, detector))

    def damage(self, attack: Attack, share: float) -> pd.Series:
        """Operating cost of the poisoned model above the clean one's, by seed; below 0 the poison makes it cheaper."""
        return self.model(attack, share, "poisoned") - self.model(attack, share, "clean")

    def direction(self, attack: Attack, share: float) -> int:
        """1 where the poison raises the cost in every seed, −1 where it lowers it, 0 where it does neither clearly."""
        damage, clean = self.damage(attack, share), self.model(attack, share, "clean")
        if abs(damage.mean()) < DAMAGE * clean.mean():
            return 0
        return 1 if (damage > 0).all() else -1 if (damage < 0).all() else 0

    def recovered(
        self, attack: Attack, share: float, detector: str, mitigation: Mitigation = COMPLETE
    ) -> Spread | None:
        """Share of the damage that a mitigation takes back, 1 being the clean model's cost; None without damage."""
        if self.direction(attack, share) != 1:
            return None
        saved = self.model(attack, share, "poisoned") - self.mitigated(attack, share, detector, mitigation)
        return Spread.of((saved / self.damage(attack, share)).to_numpy())

    def _by_seed(
        self,
        attack: Attack,
        share: float,
        method: str,
        metric: str,
        detector: str = "",
        criterion: str | None = None,
        l1_budget: float | None = None,
    ) -> pd.Series:
        weights = ("", "") if criterion is None else (criterion, l1_budget)
        found = self._numbers.get((*attack, share, method, metric, detector, *weights), [])
        seeds = sorted(seed for seed, _ in found)
        if seeds != self.seeds:
            raise InputError(
                f"poisoning: expected each number once for every seed, got seeds {seeds} of {self.seeds}; run "
                "poisoning anew."
            )
        return pd.Series(dict(found), dtype=float).sort_index()
