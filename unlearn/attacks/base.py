"""What an attack on a release is: one class with its settings that scores, and the names of those built in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from unlearn.checks import (
    FloatArray,
    IntArray,
    require_choice,
    require_count,
    require_fraction,
    require_not_negative,
    require_positive,
)
from unlearn.errors import InputError
from unlearn.registry import Registry


class Attack(Protocol):
    """A membership attack: a frozen dataclass of plain settings, with the work as a method.

    One of one's own inherits from this class, has a `name` for records and writes `score`.

    Attributes:
        name: what records call it.
        label: what figures call it.
        score_of_a_copy: the score of a profile that equals a released one, where there is no higher score; None where
            copies are not told for certain. Strangers with this score cannot be told from copies.
    """

    name: str
    label: ClassVar[str]
    score_of_a_copy: ClassVar[float | None] = None

    def score(self, synthetic: FloatArray, attacked: FloatArray, reference: FloatArray, seed: int = 0) -> FloatArray:
        """Score each attacked profile; higher means "trained on". See `membership_scores`, which checks what is given.

        Args:
            synthetic: released profiles in kWh, shape (n, S).
            attacked: profiles to score, shape (m, S).
            reference: profiles of households that were neither trained on nor are attacked, shape (r, S).
            seed: of whatever is drawn.

        Returns:
            Scores, shape (m,).
        """
        ...


class Classifier(Protocol):
    """How an attacker guesses an attribute of households from their days: a frozen dataclass with the work as a method.

    One of one's own inherits from this class, has a `name` for records and writes `score`.
    """

    name: str

    def score(self, profiles: FloatArray, values: IntArray, attacked: FloatArray, seed: int = 0) -> FloatArray:
        """Score each value for each attacked day. Values count alike, however frequent they are.

        Args:
            profiles: what is learnt from, in kWh, shape (n, S).
            values: the attribute of each, at least two values, shape (n,).
            attacked: days, shape (m, S).
            seed: of whatever is drawn.

        Returns:
            Scores in ascending order of the values, shape (m, values).
        """
        ...


#: Attacks and classifiers by name. One's own need no name: whatever takes a name takes an object, too.
ATTACKS: Registry[type[Attack]] = Registry(
    "attack",
    {
        "distance": "unlearn.attacks.membership:Distance",
        "relative_distance": "unlearn.attacks.membership:RelativeDistance",
        "density": "unlearn.attacks.membership:Density",
        "discriminator": "unlearn.attacks.membership:Discriminator",
    },
)
CLASSIFIERS: Registry[type[Classifier]] = Registry(
    "classifier",
    {"nearest": "unlearn.attacks.attributes:NearestProfile", "trees": "unlearn.attacks.attributes:BoostedTrees"},
)
#: An attack, or a classifier, by its name with its default settings; an object is returned as it is.
make_attack: Callable[[str | Attack], Attack] = ATTACKS.make
make_classifier: Callable[[str | Classifier], Classifier] = CLASSIFIERS.make
#: Several attacks; refused before anything is attacked where there is none, or one name twice.
require_attacks: Callable[[Sequence[str | Attack]], list[Attack]] = ATTACKS.make_all


def label_of(name: str) -> str:
    """What figures and sentences call an attack; one without a name in the registry is called as in its records."""
    return ATTACKS[name].label if name in ATTACKS else name


#: Shadow models with and without a record that its distributions are fitted on, at least.
MIN_SHADOWS = 8

#: Distributions of patterns.
PATTERNS = ("pulses", "waves")


@dataclass(frozen=True)
class OutlierOptions:
    """Outlier households.

    Attributes:
        households: outlier households of each set.
        days: days of each of them, at most as many as the training days.
        norm_kwh: Euclidean norm of a household's pattern over the day; real days have about 2.5.
        noise: standard deviation of the logarithm of each step's noise from day to day.
        share_on: share of the day's steps in which a household of pulses uses energy.
        seen: distribution of the patterns that are trained on; the unseen ones of the other kind have the other.
    """

    households: int = 20
    days: int = 10
    norm_kwh: float = 10.0
    noise: float = 0.05
    share_on: float = 0.2
    seen: str = "pulses"

    def __post_init__(self) -> None:
        for name in ("households", "days"):
            require_count(f"outliers.{name}", getattr(self, name))
        require_positive("outliers.norm_kwh", self.norm_kwh)
        require_not_negative("outliers.noise", self.noise)
        if not 0 < self.share_on <= 0.5:
            raise InputError(f"outliers.share_on: expected a share above 0 and at most 0.5, got {self.share_on!r}.")
        require_choice("outliers.seen", self.seen, PATTERNS)


def require_enough_records(n_others: int, fprs: Sequence[float]) -> None:
    """Refuse false positive rates that so few records cannot show.

    Raises:
        InputError: a rate outside of (0, 1), or fewer than 1/rate records.
    """
    for fpr in fprs:
        require_fraction("fpr", fpr)
        if n_others < math.ceil(1 / fpr - 1e-9):
            raise InputError(
                f"attack: expected at least {math.ceil(1 / fpr - 1e-9)} records that are no members for a false "
                f"positive rate of {fpr:g}, got {n_others}. Hold out more, or ask for a higher rate."
            )
