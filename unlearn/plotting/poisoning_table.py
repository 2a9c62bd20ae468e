"""Reading the records of poisoned training data: costs over seeds, damage, and how much of it a remedy recovers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from unlearn.errors import InputError
from unlearn.plotting.utility_seeds import Spread

#: Poisoned share that answers are given for.
REPORTED = 0.1

#: Share of the clean cost from which on, in the mean and with one sign in every seed, a change counts as one.
DAMAGE = 0.02

#: Share of the damage that unlearning is asked to recover.
ASKED = 0.5

DETECTOR_NAMES = {
    "truth": "the truth",
    "residual": "forecast residual",
    "influence_mse": "influence on MSE",
    "influence_cost": "influence on cost",
    "seasonal": "seasonal median",
    "gan": "LSTM-GAN",
    "none": "nothing",
}


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
class Remedy:
    """What is done about what a detector flags."""

    method: str
    criterion: str | None = None
    l1_budget: float | None = None

    @property
    def name(self) -> str:
        """How it is called in text."""
        if self.criterion is None:
            return "complete unlearning"
        program = "TAMU" if self.criterion == "cost" else f"PAMU {self.criterion.upper()}"
        return f"{program}, λ₁ = {self.l1_budget:g}"


COMPLETE = Remedy("unlearnt")


class PoisoningTable:
    """Numbers of one forecaster by attack, share, detector and remedy, each over seeds."""

    def __init__(self, records: pd.DataFrame) -> None:
        """Take the records of `PoisonedStudy` over attacks, shares and seeds.

        Raises:
            InputError: records of something else, or of several forecasters or data sets.
        """
        if not (records["experiment"] == "poisoning").all() or "detector" not in records:
            raise InputError("poisoning: expected records of poisoning with the column detector; run it first.")
        about = records[["data", "grid", "forecaster", "protocol"]].drop_duplicates()
        if len(about) != 1:
            raise InputError(f"poisoning: expected records of one forecaster and data set, got {len(about)}.")
        self.records, self.about = records, about.iloc[0]

    @property
    def attacks(self) -> list[Attack]:
        """In the order of the records."""
        own = self.records[["kind", "strength"]].drop_duplicates()
        return [Attack(str(kind), float(strength)) for kind, strength in own.itertuples(index=False)]

    @property
    def shares(self) -> list[float]:
        """Poisoned shares, ascending."""
        return sorted(float(share) for share in self.records["share"].unique())

    @property
    def share(self) -> float:
        """The share that is nearest to `REPORTED`."""
        return min(self.shares, key=lambda share: abs(share - REPORTED))

    @property
    def seeds(self) -> list[int]:
        """Seeds."""
        return sorted(int(seed) for seed in self.records["seed"].unique())

    @property
    def detectors(self) -> list[str]:
        """Detectors that were asked at the reported share, "truth" first, "none" last."""
        own = self.records[(self.records["method"] == "detection") & (self.records["share"] == self.share)]
        found = own["detector"].unique()
        known = [name for name in DETECTOR_NAMES if name in found]
        others = [str(name) for name in found if name not in known]
        return [*(n for n in known if n != "none"), *others, *(n for n in known if n == "none")]

    @property
    def blind(self) -> list[str]:
        """Detectors that do not know the truth and flag something."""
        return [name for name in self.detectors if name not in ("truth", "none")]

    def asked(self, attack: Attack, detector: str) -> list[float]:
        """Shares at which a detector was asked; slow ones may not be at all."""
        own = self.records[(self.records["kind"] == attack.kind) & (self.records["strength"] == attack.strength)]
        own = own[(own["method"] == "detection") & (own["detector"] == detector)]
        return sorted(float(share) for share in own["share"].unique())

    @property
    def remedies(self) -> list[Remedy]:
        """Complete unlearning, then every re-weighting."""
        own = self.records[(self.records["method"] == "reweighted")]
        kept = own[["criterion", "l1_budget"]].drop_duplicates().itertuples(index=False)
        return [COMPLETE, *(Remedy("reweighted", str(c), float(budget)) for c, budget in kept)]

    def model(self, attack: Attack, share: float, method: str, metric: str = "cost") -> pd.Series:
        """A number of the method "clean" or "poisoned", by seed."""
        own = self._of(attack, share)
        return self._by_seed(own[(own["method"] == method) & (own["metric"] == metric)])

    def mended(
        self, attack: Attack, share: float, detector: str, remedy: Remedy = COMPLETE, metric: str = "cost"
    ) -> pd.Series:
        """A number after a remedy of what a detector flags, by seed; "clean": of the clean model, re-weighted."""
        own = self._of(attack, share)
        own = own[(own["method"] == remedy.method) & (own["detector"] == detector) & (own["metric"] == metric)]
        if remedy.criterion is not None:
            own = own[(own["criterion"] == remedy.criterion) & (own["l1_budget"] == remedy.l1_budget)]
        return self._by_seed(own)

    def detection(self, attack: Attack, share: float, detector: str, metric: str) -> Spread:
        """How right a detector is: precision, recall, f1, roc_auc, flagged, false_alarms."""
        own = self._of(attack, share)
        own = own[(own["method"] == "detection") & (own["detector"] == detector) & (own["metric"] == metric)]
        return Spread.of(self._by_seed(own).to_numpy())

    def damage(self, attack: Attack, share: float) -> pd.Series:
        """Operating cost of the poisoned model above the clean one's, by seed; below 0 the poison makes it cheaper."""
        return self.model(attack, share, "poisoned") - self.model(attack, share, "clean")

    def direction(self, attack: Attack, share: float) -> int:
        """1 where the poison raises the cost in every seed, −1 where it lowers it, 0 where it does neither clearly."""
        damage, clean = self.damage(attack, share), self.model(attack, share, "clean")
        if abs(damage.mean()) < DAMAGE * clean.mean():
            return 0
        return 1 if (damage > 0).all() else -1 if (damage < 0).all() else 0

    def recovered(self, attack: Attack, share: float, detector: str, remedy: Remedy = COMPLETE) -> Spread | None:
        """Share of the damage that a remedy takes back, 1 being the clean model's cost; None without damage."""
        if self.direction(attack, share) != 1:
            return None
        saved = self.model(attack, share, "poisoned") - self.mended(attack, share, detector, remedy)
        return Spread.of((saved / self.damage(attack, share)).to_numpy())

    def _of(self, attack: Attack, share: float) -> pd.DataFrame:
        own = self.records
        return own[(own["kind"] == attack.kind) & (own["strength"] == attack.strength) & (own["share"] == share)]

    def _by_seed(self, rows: pd.DataFrame) -> pd.Series:
        if sorted(rows["seed"]) != self.seeds:
            raise InputError(
                f"poisoning: expected each number once for every seed, got seeds {sorted(rows['seed'])} of "
                f"{self.seeds}; run poisoning anew."
            )
        return rows.set_index("seed")["value"].sort_index()
