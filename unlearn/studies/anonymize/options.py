"""Options of the study of de-identification, and the names of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice, require_count, require_fraction, require_positive
from unlearn.errors import InputError
from unlearn.forecasters.specs import TrainingOptions

#: Readings with identifiers; the same with pseudonyms for all time, or with other ones each month.
RAW, PSEUDONYMS, ROTATED = "raw", "pseudonyms", "rotated"
#: Coarser readings under pseudonyms for all time.
ROUNDED, HOURLY, SIX_HOURLY, DAILY, WEEKLY, EXTREMES = (
    "rounded", "hourly", "six_hourly", "daily", "weekly", "extremes",
)  # fmt: skip
#: Each household's curve replaced by the mean of a class of at least so many.
MICRO_5, MICRO_15 = "micro_5", "micro_15"
#: A table of generalised labels, without readings.
LABELS = "labels"
#: Sums over feeders, substations and the area: all of them, those that meet the 15/15 rule, and those of them that tell
#: of no smaller group together.
SUMS, SUMS_15_15, SUPPRESSED = "sums", "sums_15_15", "suppressed"

#: All steps, from the least to the most protective.
STEPS = (
    RAW, PSEUDONYMS, ROTATED, ROUNDED, HOURLY, SIX_HOURLY, DAILY, WEEKLY, EXTREMES, MICRO_5, MICRO_15, LABELS,
    SUMS, SUMS_15_15, SUPPRESSED,
)  # fmt: skip
#: Steps that publish sums over groups, and no record of a household.
OF_SUMS = (SUMS, SUMS_15_15, SUPPRESSED)
#: Households of a class, by step.
CLASS_SIZES = {MICRO_5: 5, MICRO_15: 15}
#: Half-hours of one day, and of a week from Monday, which an attacker knows in a row; other known readings are
#: scattered over the year.
ONE_DAY, ONE_WEEK = 48, 336
#: Sums of each kind that an AUC is measured with, at least.
LEAST_TRIALS = 100


@dataclass(frozen=True)
class AnonymizeOptions:
    """How de-identification is measured.

    Attributes:
        seeds: of what attackers know, of random halves, and of the assignment of households to feeders.
        steps: which releases are made, among `STEPS`.
        known: numbers of half-hourly readings that an attacker knows of a household.
        main_known: the one among them that the page's answer is about.
        rounding_kwh: readings of the step "rounded" are multiples of this.
        k: households that share a row of generalised labels, at least.
        l: sensitive values within such a row, at least.
        most_suppressed: share of the households that may be left out of the table of labels.
        class_sizes: classes of microaggregation whose loss of information is measured.
        group_sizes: households in a published sum that attackers look for a household in.
        trials: sums with the household that is looked for, and as many without it, for each size.
        attacks: guesses of an attack that singles out, links or infers.
        relinked: pairs of months that rotated pseudonyms are relinked over.
        districts: parts of the area in the example of two releases that compose.
        forecasters: trained on what is published.
        networks: further forecasters, which only the first seed's raw and last release train.
        hours: test hours that are priced, evenly spaced; 0 prices all.
        test_every: every so many calendar weeks is forecast and never learnt from.
        training: of networks.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: tuple[str, ...] = STEPS
    known: tuple[int, ...] = (1, 2, 4, 8, ONE_DAY, ONE_WEEK)
    main_known: int = 4
    rounding_kwh: float = 0.1
    k: int = 5
    l: int = 2  # noqa: E741, the name that the literature gives it
    most_suppressed: float = 0.05
    class_sizes: tuple[int, ...] = (2, 5, 15, 50)
    group_sizes: tuple[int, ...] = (1, 2, 5, 15, 50, 100)
    trials: int = 400
    attacks: int = 500
    relinked: int = 3
    districts: int = 10
    forecasters: tuple[str, ...] = ("linear",)
    networks: tuple[str, ...] = ("cnn",)
    hours: int = 0
    test_every: int = 4
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "known", "class_sizes", "group_sizes", "forecasters"):
            own = getattr(self, name)
            if not own or len(set(own)) < len(own):
                raise InputError(f"anonymize.{name}: expected at least one, each once, got {list(own)}.")
        for step in self.steps:
            require_choice("anonymize.steps", step, STEPS)
        if RAW not in self.steps:
            raise InputError(f"anonymize.steps: expected {RAW} among them, to compare with; got {list(self.steps)}.")
        for name in ("known", "class_sizes", "group_sizes"):
            for value in getattr(self, name):
                require_count(f"anonymize.{name}", value)
        if self.main_known not in self.known:
            raise InputError(
                f"anonymize.main_known: expected one of the numbers known, {list(self.known)}, got {self.main_known}."
            )
        require_positive("anonymize.rounding_kwh", self.rounding_kwh)
        require_fraction("anonymize.most_suppressed", self.most_suppressed)
        for name in ("k", "l", "trials", "attacks", "relinked", "districts"):
            require_count(f"anonymize.{name}", getattr(self, name))
        if self.trials < LEAST_TRIALS:
            raise InputError(f"anonymize.trials: expected at least {LEAST_TRIALS} of each kind, got {self.trials}.")
        if self.test_every < 2:
            raise InputError(
                f"anonymize.test_every: expected at least 2 (every second week is tested on), got {self.test_every}."
            )
        if isinstance(self.hours, bool) or self.hours < 0:
            raise InputError(f"anonymize.hours: expected at least 0 (all hours), got {self.hours}.")
