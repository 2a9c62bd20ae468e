"""Options of the study of federated learning, and the words that its records use."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import (
    require_choice,
    require_count,
    require_each_once,
    require_fraction,
    require_not_negative,
    require_positive,
)
from unlearn.errors import InputError
from unlearn.forecasters.specs import TrainingOptions

#: What is measured, in the order of the page.
PARTS = ("exact", "unlearning", "averaging", "privacy", "inversion", "traffic")
#: Forecasters: the linear one, a Mixer under an analytic head, and a Mixer that is trained as a whole.
LINEAR, HEAD, MIXER = "linear", "mixer_head", "mixer"
#: How a model of all utilities, or of each one, is made.
FEDERATED, POOLED, ALONE, AVERAGED, SECURE, PROCESSES = (
    "federated", "pooled", "alone", "averaged", "secure", "processes",
)  # fmt: skip
#: How somebody is unlearnt, rolled back by all or half of the lost rounds; the same model as before; and training
#: without the leaver from another seed.
EXACT, RETRAINED, ROLLED_BACK, HALF_BACK, KEPT, OTHER_SEED = (
    "exact", "retrained", "rolled_back", "rolled_back_half", "kept", "other_seed",
)  # fmt: skip
#: Who leaves: a utility of the first round, one that joined later, a customer, several customers of several utilities.
UTILITY, LATE, CUSTOMER, CUSTOMERS = "utility", "late_utility", "customer", "customers"
CASES = (UTILITY, LATE, CUSTOMER, CUSTOMERS)
#: What goes wrong with a member of the averaging: nothing, it vanishes, sends a scaled update, or a poisoned one.
NOTHING_WRONG, DROPPED, SCALED, POISONED = "nothing", "dropped", "scaled", "poisoned"
WRONGS = (NOTHING_WRONG, DROPPED, SCALED, POISONED)
#: How updates are put together.
WEIGHTED_MEAN, MEDIAN = "mean", "median"
AGGREGATES = (WEIGHTED_MEAN, "clipped", MEDIAN, "trimmed", "krum", "multi_krum", "geometric")
#: What an attacker sees of updates.
SINGLE, STEPS, SUM, NOISY = "single", "steps", "sum", "noisy"
#: Members that a robust mean and a leaver need beside one another.
LEAST_UTILITIES = 4


@dataclass(frozen=True)
class AveragingSettings:
    """How the Mixer is trained by federated averaging, and pooled or alone with as many passes over the data.

    The defaults are those of three that come nearest to pooled training on validation rows of the London sample, in a
    division among utilities that no seed of the study has.

    Attributes:
        rounds: of averaging.
        local_epochs: passes of a member over its own rows in a round.
        batch_size: rows of a step.
        learning_rate: of the members' steps.
    """

    rounds: int = 10
    local_epochs: int = 1
    batch_size: int = 128
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        for name in ("rounds", "local_epochs", "batch_size"):
            require_count(f"federated.averaging.{name}", getattr(self, name))
        require_positive("federated.averaging.learning_rate", self.learning_rate)


@dataclass(frozen=True)
class FederatedOptions:
    """How federated learning is measured.

    Attributes:
        parts: what is measured, among `PARTS`.
        seeds: of which household belongs to which utility and feeder, of initial weights and of orders of rows.
        utilities: members of the federation.
        lags: hours before, whose loads are features.
        hours: test hours that are priced in each utility, evenly spaced; None prices all.
        public: simulated households, nobody's customers, that an extractor and an attacker's guess are made from.
        leavers: customers of `customers`, who leave at once, of several utilities.
        cases: who leaves, among `CASES`.
        averaging: how the Mixer is averaged.
        joins: share of the rounds after which the late utility joins.
        aggregates: how updates are put together where a member is malicious, among `AGGREGATES`; seeds after the
            first compare the first two that are there of the mean and the median alone.
        scale: a malicious member's update is this many times as large.
        poison: or it trains on loads that are this many times as large.
        training: of the extractor under the analytic head.
        epsilons: ε of the classifier of electric cars.
        main_epsilon: the one among them that is accounted for when members drop out.
        delta: δ of it.
        adoption: households of the classifier, simulated if the source has fewer.
        batches: load windows in an attacked update.
        noise_multipliers: of updates with noise, over their clipped norm.
        inversions: updates that are attacked of each kind.
        iterations: of an attack by optimisation.
        batch_customers: customers whose withdrawals are taken together, to hide each among the others.
        processes: whether the averaging also runs in processes of their own, which takes the extra `federated`; the
            same messages go through one process otherwise.
    """

    parts: tuple[str, ...] = PARTS
    seeds: tuple[int, ...] = (0, 1, 2)
    utilities: int = 5
    lags: tuple[int, ...] = (24, 168)
    hours: int | None = None
    public: int = 100
    leavers: int = 5
    cases: tuple[str, ...] = CASES
    averaging: AveragingSettings = field(default_factory=AveragingSettings)
    joins: float = 1 / 3
    aggregates: tuple[str, ...] = (WEIGHTED_MEAN, "clipped", MEDIAN, "krum", "geometric")
    scale: float = -5.0
    poison: float = 3.0
    training: TrainingOptions = field(default_factory=lambda: TrainingOptions(epochs=10, batch_size=64))
    epsilons: tuple[float, ...] = (1.0, 3.0, 8.0)
    main_epsilon: float = 3.0
    delta: float = 1e-5
    adoption: int = 1000
    batches: tuple[int, ...] = (1, 4, 16)
    noise_multipliers: tuple[float, ...] = (0.01, 0.1, 1.0)
    inversions: int = 4
    iterations: int = 300
    batch_customers: tuple[int, ...] = (1, 5, 15)
    processes: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("parts", PARTS), ("cases", CASES), ("aggregates", AGGREGATES)):
            require_each_once(f"federated.{name}", getattr(self, name))
            for own in getattr(self, name):
                require_choice(f"federated.{name}", own, allowed)
        for name in ("seeds", "lags", "epsilons", "batches", "noise_multipliers", "batch_customers"):
            require_each_once(f"federated.{name}", getattr(self, name))
        if self.utilities < LEAST_UTILITIES:
            raise InputError(
                f"federated.utilities: expected at least {LEAST_UTILITIES}, so that some are left when one leaves and "
                f"one is malicious, got {self.utilities}."
            )
        for name in ("public", "leavers", "adoption", "inversions", "iterations"):
            require_count(f"federated.{name}", getattr(self, name))
        for own in (*self.lags, *self.batches, *self.batch_customers):
            require_count("federated.lags, .batches, .batch_customers", own)
        if self.hours is not None:
            require_count("federated.hours", self.hours)
        if self.main_epsilon not in self.epsilons:
            raise InputError(
                f"federated.main_epsilon: expected one of the epsilons {list(self.epsilons)}, got "
                f"{self.main_epsilon:g}."
            )
        require_fraction("federated.joins", self.joins)
        require_fraction("federated.delta", self.delta)
        for own in self.epsilons:
            require_positive("federated.epsilons", own)
        for own in self.noise_multipliers:
            require_not_negative("federated.noise_multipliers", own)
