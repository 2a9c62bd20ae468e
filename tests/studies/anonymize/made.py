"""A small setting of made-up households at the feeders of a small grid."""

from functools import cache

from tests.studies.households import made_households
from unlearn.grid import OperatingCost
from unlearn.studies.anonymize.options import AnonymizeOptions
from unlearn.studies.anonymize.setting import Setting, make_setting, meters_of

OPTIONS = AnonymizeOptions(
    seeds=(0,), known=(1, 4, 48), class_sizes=(2, 5), group_sizes=(1, 5, 15), trials=100, attacks=20, relinked=1,
    hours=24, districts=4, networks=(),
)  # fmt: skip


@cache
def cost() -> OperatingCost:
    return OperatingCost("ieee9")


@cache
def setting() -> Setting:
    """60 households of 70 days, three feeders, one substation."""
    profiles = made_households(60, 70)
    return make_setting(profiles, meters_of(profiles), cost(), OPTIONS, 0)
