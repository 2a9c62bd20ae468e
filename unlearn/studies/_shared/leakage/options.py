"""How leakage of releases is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.attacks.base import Attack, Classifier, make_classifier, require_attacks
from unlearn.attacks.options import OutlierOptions
from unlearn.checks import require_count, require_fraction, require_not_negative
from unlearn.errors import InputError


@dataclass(frozen=True)
class LeakageOptions:
    """How leakage is measured.

    Attributes:
        attacks: membership attacks, by their names in `unlearn.attacks.ATTACKS` or as objects.
        max_profiles: attacked profiles a side, and reference profiles; of each household as many as of the others.
        max_released: released profiles that membership attacks look at, and real days that copies are looked for in.
        top: share of a household's highest record scores that its own is the mean of.
        fprs: false positive rates at which true positive rates are asked for.
        draws: random draws of released profiles and households of the reconstruction test.
        permutations: exchanges of households of the reconstruction test.
        near: relative distance up to which a released profile is a near copy.
        shifts: half-hours by which a copy may be moved in time, either way.
        max_copies: share of copies, in excess of those of other households, that fails a release.
        attributes: columns of the households that an attacker wants to know, such as segment or ev.
        classifiers: how they are guessed, by their names in `unlearn.attacks.CLASSIFIERS` or as objects.
        min_households: values of an attribute that fewer households have, of any that are attacked or learnt from at
            once, are left out.
        redraws: draws of the reference households that intervals of attribute inference rest on; below 2, they leave
            this spread out.
        ratios: radii of outliers, as ratios of their norms.
        outliers: how outliers are made.
        fits: generators that are fitted with outliers, each with its own.
    """

    attacks: tuple[str | Attack, ...] = ("distance", "relative_distance", "density", "discriminator")
    max_profiles: int = 4000
    max_released: int = 20000
    fprs: tuple[float, ...] = (0.01, 0.001)
    top: float = 1.0
    draws: int = 3
    permutations: int = 199
    near: float = 0.05
    shifts: int = 2
    max_copies: float = 0.001
    attributes: tuple[str, ...] = ("segment",)
    classifiers: tuple[str | Classifier, ...] = ("nearest", "trees")
    min_households: int = 5
    redraws: int = 5
    ratios: tuple[float, ...] = tuple(i / 20 for i in range(21))
    outliers: OutlierOptions = field(default_factory=OutlierOptions)
    fits: int = 3

    def __post_init__(self) -> None:
        require_attacks(self.attacks)
        for classifier in self.classifiers:
            make_classifier(classifier)
        for name in ("max_profiles", "max_released", "draws", "permutations", "fits", "min_households", "redraws"):
            require_count(f"leakage.{name}", getattr(self, name))
        if not 0 < self.top <= 1:
            raise InputError(f"leakage.top: expected a share above 0 and at most 1, got {self.top!r}.")
        for fpr in self.fprs:
            require_fraction("leakage.fprs", fpr)
        require_fraction("leakage.near", self.near)
        if self.shifts != 0:
            require_count("leakage.shifts", self.shifts)
        require_not_negative("leakage.max_copies", self.max_copies)
        for ratio in self.ratios:
            require_not_negative("leakage.ratios", ratio)
