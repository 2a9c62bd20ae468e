"""Options of the study of customers, and the words that its records use."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.checks import require_choice, require_count, require_fraction
from unlearn.errors import InputError
from unlearn.forecasters.specs import TrainingOptions

#: What a customer asks for, and what fills the gap: the case and the replacement of `forget_customers`.
CASES: dict[str, tuple[str, str | None]] = {
    "leaves": ("leaves", None),
    "objects": ("objects", None),
    "class_mean": ("objects", "class_mean"),
    "rescale": ("objects", "rescale"),
}
#: Who is removed: drawn at random, by the influence on the cost of validation hours, or all of one segment.
RANDOM, MOST, LEAST, SEGMENT = "random", "most valuable", "least valuable", "segment"
CHOICES = (RANDOM, MOST, LEAST, SEGMENT)
#: The linear forecaster, the network as it is published, and the network whose extractor has seen no customer.
LINEAR, CNN, CNN_OF_OTHERS = "linear", "cnn", "cnn_of_others"
FORECASTERS = (LINEAR, CNN, CNN_OF_OTHERS)


@dataclass(frozen=True)
class CustomersOptions:
    """How forgetting customers is measured.

    Attributes:
        seeds: of the assignment of customers to buses, and of what is drawn at random.
        shares: of the customers that are removed.
        choices: who is removed, among `CHOICES`.
        cases: what the removed ask for and what fills the gap, among `CASES`.
        forecasters: among `FORECASTERS`; the linear one is measured in full, networks with the first seed and the
            main share of customers drawn at random.
        main_share: share that the page's answer is about, and that is divided over buses.
        test_every: every so many calendar weeks is tested on; every second week in the middle between them is
            validation.
        least_class: classes with fewer customers are joined with the next smallest one, so that a class has a mean.
        tuning_hours: training hours that tuning is evaluated on, evenly spaced; 0 does not tune.
        removals: customers that are truly removed, one at a time, to check their worth.
        targets: customers whose membership is attacked.
        pairs: of models that an attack tells apart, for each target.
        shadows: models that an attacker has trained, for each target.
        training: of the networks.
        simulated: simulated households that the extractor of `cnn_of_others` is trained on.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    shares: tuple[float, ...] = (0.01, 0.05, 0.2, 0.5)
    choices: tuple[str, ...] = CHOICES
    cases: tuple[str, ...] = tuple(CASES)
    forecasters: tuple[str, ...] = FORECASTERS
    main_share: float = 0.05
    test_every: int = 5
    least_class: int = 30
    tuning_hours: int = 2000
    removals: int = 200
    targets: int = 20
    pairs: int = 100
    shadows: int = 512
    training: TrainingOptions = field(default_factory=TrainingOptions)
    simulated: int = 200

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise InputError(f"customers.seeds: expected at least one seed, each once, got {list(self.seeds)}.")
        for name, allowed in (("choices", CHOICES), ("cases", CASES), ("forecasters", FORECASTERS)):
            for own in getattr(self, name):
                require_choice(f"customers.{name}", own, allowed)
        for share in (*self.shares, self.main_share):
            require_fraction("customers.shares", share)
        if self.main_share not in self.shares:
            raise InputError(
                f"customers.main_share: expected one of the shares {list(self.shares)}, got {self.main_share:g}."
            )
        if LINEAR not in self.forecasters:
            raise InputError(f"customers.forecasters: expected {LINEAR} among them, got {list(self.forecasters)}.")
        for name in ("least_class", "removals", "targets", "pairs", "shadows", "simulated"):
            require_count(f"customers.{name}", getattr(self, name))
        if self.test_every < 4:
            raise InputError(
                f"customers.test_every: expected at least 4, so that weeks are left to train on, got {self.test_every}."
            )
