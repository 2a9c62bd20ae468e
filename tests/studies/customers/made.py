"""A small setting: made-up households on the buses of the smallest grid."""

import functools
from dataclasses import replace

from tests.studies.households import made_households
from unlearn.forecasters import TrainingOptions
from unlearn.grid import OperatingCost
from unlearn.studies.customers import CustomersOptions, Population, Setting, make_setting

OPTIONS = CustomersOptions(
    seeds=(0,),
    forecasters=("linear",),
    shares=(0.05, 0.5),
    test_every=4,
    least_class=15,
    tuning_hours=48,
    removals=4,
    targets=3,
    pairs=6,
    shadows=64,
    training=TrainingOptions(epochs=1),
    simulated=30,
)


@functools.cache
def setting(n_households: int = 60, seed: int = 0) -> Setting:
    """Sixty days of households on three buses."""
    return make_setting(Population(made_households(n_households, 91)), OperatingCost("ieee9"), OPTIONS, seed)


def other_options(**changes: object) -> CustomersOptions:
    return replace(OPTIONS, **changes)  # type: ignore[arg-type]
