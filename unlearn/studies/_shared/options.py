"""Options that several studies share: of households and releases, of hours and rows, and of what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from unlearn.attacks.base import Attack, Classifier, OutlierOptions, make_classifier, require_attacks
from unlearn.checks import require_choice, require_count, require_fraction, require_not_negative
from unlearn.errors import InputError
from unlearn.forecasters.specs import FORECASTERS, TrainingOptions
from unlearn.generators.base import GENERATORS
from unlearn.unlearning.tuning.methods import FOLDS

if TYPE_CHECKING:
    from unlearn.data.lags import Lags
    from unlearn.data.splits import SplitSpec


@dataclass(frozen=True)
class SynthesisOptions:
    """How households are divided, what is released, and over which seeds it is measured.

    Attributes:
        profiles: of a release.
        holdout: share of the households that generators never see.
        test_every: every so many calendar weeks is kept from generators and forecasters.
        seeds: of division, generator and measurement.
        folder: releases and records of each seed are kept here and reused.
    """

    profiles: int = 40_000
    holdout: float = 0.5
    test_every: int = 4
    seeds: tuple[int, ...] = (0, 1, 2)
    folder: str = field(default="results/synthetic", compare=False)

    def __post_init__(self) -> None:
        require_count("synthesis.profiles", self.profiles)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise InputError(f"synthesis.seeds: expected at least one seed, each once, got {list(self.seeds)}.")


def require_generators(name: str, generators: tuple[str, ...]) -> None:
    """Refuse names that are no generators'.

    Raises:
        InputError: an unknown name.
    """
    for generator in generators:
        require_choice(name, generator, GENERATORS)


#: "published" differentiates and selects on the test rows that it reports; "fair" on validation rows.
PROTOCOLS = {"published": "test", "fair": "validation"}

#: How rows are picked: a share of them, or those that are named.
SHARES, NAMED = ("helpful", "harmful", "random"), ("time_range", "mask")

#: λ₁ of re-weighting, and the values that curves are drawn over.
DEFAULT_L1 = 0.1
L1_BUDGETS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25)
#: The same of networks.
L1_BUDGETS_NETWORK = L1_BUDGETS[:7]


@dataclass(frozen=True)
class SplitOptions:
    """Shares of a chronological split and the core.

    Attributes:
        train: share of the hours; None is the protocol's: 0.8 published, 0.7 fair.
        validation: None is the protocol's: 0 published, 0.1 fair.
        core: share of the training rows that extractors are trained on.
        core_choice: random as in the published code, first as in the paper's text.
        random_state: of the core.
    """

    train: float | None = None
    validation: float | None = None
    core: float = 0.3
    core_choice: str = "random"
    random_state: int = 0

    def spec(self, protocol: str) -> SplitSpec:
        """The split of a protocol with what is changed in it."""
        from unlearn.data.splits import FAIR, PUBLISHED

        base = PUBLISHED if protocol == "published" else FAIR
        return replace(
            base,
            train=base.train if self.train is None else self.train,
            validation=base.validation if self.validation is None else self.validation,
            core=self.core,
            core_choice=self.core_choice,
            random_state=self.random_state,
        )


@dataclass(frozen=True)
class LagOptions:
    """Loads of earlier hours among the features; none by default. See `unlearn.Lags`.

    Attributes:
        hours: lags in hours, such as 24 and 168.
        means: lengths of the windows of rolling means, in hours.
    """

    hours: tuple[int, ...] = ()
    means: tuple[int, ...] = ()

    def chosen(self) -> Lags | None:
        """The lags that a data set is to have; None for none."""
        from unlearn.data.lags import Lags

        return Lags(self.hours, self.means) if self.hours or self.means else None


@dataclass(frozen=True)
class EvaluationOptions:
    """What a forecast is measured on.

    Attributes:
        hours: priced per split, evenly spaced; None prices all.
        leave_out_zero_loads: an hour's MAPE is over its loads that are not 0; records count what is left out.
    """

    hours: int | None = None
    leave_out_zero_loads: bool = False


@dataclass(frozen=True)
class SelectionOptions:
    """Which rows are forgotten.

    Attributes:
        selection: "helpful" or "harmful" (whose removal makes a criterion worst or best), "random"; or "time_range",
            "mask".
        select_by: criterion whose influence picks rows; None is the forecaster's own, as in the paper.
        share: of the training rows that is picked.
        start: of a time range, such as 2007-03-01.
        end: of a time range, excluded.
        mask: a parquet file with one boolean column.
        linf_budget: λ_∞ of re-weighting, in [0, 1].
    """

    selection: str = "helpful"
    select_by: str | None = None
    share: float = 0.25
    start: str | None = None
    end: str | None = None
    mask: str | None = None
    linf_budget: float = 1.0

    def __post_init__(self) -> None:
        require_choice("unlearning.selection", self.selection, (*SHARES, *NAMED))
        if self.selection == "time_range" and not (self.start and self.end):
            raise InputError(
                "unlearning.selection=time_range: expected unlearning.start and unlearning.end, such as 2007-03-01."
            )
        if self.selection == "mask" and not self.mask:
            raise InputError(
                "unlearning.selection=mask: expected unlearning.mask, a parquet file with one boolean column."
            )


@dataclass(frozen=True)
class ForgettingOptions(SelectionOptions):
    """Which rows are forgotten, see `SelectionOptions`, and how

    Attributes:
        l1_budget: λ₁ of re-weighting; None is `DEFAULT_L1` with a criterion.
        loads: names of the loads to forget; None forgets whole rows.
        form: how complete unlearning is computed; see `forget`.
        folds: parts of the remaining weeks by which a tuning chooses; see `Tuning`.
        lagged: what becomes of rows of which forgotten loads are lags, "impute" or "drop"; see `forget`.
        destroy_old: delete the model before, once the new one is written.
    """

    l1_budget: float | None = None
    loads: tuple[str, ...] | None = None
    form: str = "unlearn_gradient"
    folds: int = FOLDS
    lagged: str | None = None
    destroy_old: bool = field(default=False, compare=False)

    def budget(self, criterion: str | None, tuned: bool = False) -> float:
        """λ₁ with a criterion that is re-weighted for, and without one, or with a tuning.

        Raises:
            InputError: options of complete unlearning beside re-weighting, or the other way round.
        """
        if tuned and self.l1_budget:
            raise InputError(
                f"unlearning.l1_budget={self.l1_budget:g}: a tuning forgets completely, and has a budget of its own "
                "(tuning=weights tuning.l1_budget=0.1). Leave it out, or re-weight as published with tuning=none."
            )
        if tuned:
            return 0.0
        if criterion is None:
            if self.l1_budget:
                raise InputError(
                    f"unlearning.l1_budget={self.l1_budget:g}: criterion=none forgets completely; leave it out, or "
                    "choose a criterion."
                )
            return 0.0
        if self.loads is not None or self.form != "unlearn_gradient" or self.lagged is not None:
            raise InputError(
                "re-weighting forgets whole rows in every form, and knows no lags; unlearning.loads, .form and .lagged "
                "are for criterion=none, or with a tuning."
            )
        return DEFAULT_L1 if self.l1_budget is None else self.l1_budget


@dataclass(frozen=True)
class TradeoffOptions(SelectionOptions):
    """Which rows are forgotten, see `SelectionOptions`, and

    Attributes:
        l1_budgets: values of λ₁; 0 is complete unlearning.
    """

    l1_budgets: tuple[float, ...] = L1_BUDGETS


@dataclass(frozen=True)
class DrawOptions(SelectionOptions):
    """Which rows are forgotten, see `SelectionOptions`, and

    Attributes:
        draw: remaining samples that are shown (Fig 5).
    """

    draw: int = 1000


@dataclass(frozen=True)
class FidelityOptions:
    """How fidelity is measured.

    Attributes:
        top_k: largest steps of a profile that count as its peaks.
        n_bins: bins of Jensen-Shannon distances, at quantiles of real training profiles.
        n_clusters: clusters of the mixture.
        min_members: profiles that each side must have in a cluster to be compared inside it, and at all.
        n_divisions: random divisions of all households that show how far the floor varies.
        max_profiles: profiles a side that are compared at most; more are sampled.
    """

    top_k: int = 3
    n_bins: int = 20
    n_clusters: int = 8
    min_members: int = 50
    n_divisions: int = 5
    max_profiles: int = 20_000

    def __post_init__(self) -> None:
        least = {"top_k": 1, "n_bins": 2, "n_clusters": 2, "min_members": 2, "n_divisions": 0, "max_profiles": 2}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise InputError(f"{name}: expected a whole number of at least {low}, got {value!r}.")


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


TASKS = ("season", "next_step", "load")


@dataclass(frozen=True)
class UtilityOptions:
    """How utility is measured.

    Attributes:
        tasks: among "season", "next_step", "load".
        profiles: profiles of each training and test set of the first two tasks at most.
        window: steps that a forecast of the next one sees.
        windows: windows drawn from each set at most.
        customers: households of each bus.
        forecasters: of bus loads, by their names in `unlearn.forecasters.FORECASTERS`.
        training: of the networks.
        hours: test hours that are priced; None prices all.
    """

    tasks: tuple[str, ...] = TASKS
    profiles: int = 15_000
    window: int = 8
    windows: int = 60_000
    customers: int = 60
    forecasters: tuple[str, ...] = FORECASTERS.names()
    training: TrainingOptions = field(default_factory=TrainingOptions)
    hours: int | None = None

    def __post_init__(self) -> None:
        for task in self.tasks:
            require_choice("utility.tasks", task, TASKS)
        for kind in self.forecasters:
            require_choice("utility.forecasters", kind, FORECASTERS)
        for name in ("profiles", "window", "windows", "customers"):
            require_count(f"utility.{name}", getattr(self, name))
