"""What each technique promises, and against whom, in words."""

from __future__ import annotations

from typing import NamedTuple

from unlearn.studies.comparison.options import (
    CLASSES,
    DP,
    DP_SYNTHETIC,
    FEDERATED,
    HE,
    MPC,
    NONE,
    PSEUDONYMS,
    SECURE,
    SECURE_DP,
    SUMS,
    SYNTHETIC,
)


class Words(NamedTuple):
    """A technique in words.

    Attributes:
        name: as people call it.
        promise: what is promised, under what assumption.
        against: what it protects against.
        not_against: what it does not.
    """

    name: str
    promise: str
    against: str
    not_against: str


WORDS: dict[str, Words] = {
    NONE: Words("no protection", "nothing", "nobody", "whoever reads it"),
    SUMS: Words(
        "plain sums per feeder", "nobody outside sees a record; the utility is trusted",
        "linkage of records", "two sums that differ by one home; the utility itself",
    ),
    PSEUDONYMS: Words(
        "pseudonyms", "names are replaced; nobody is assumed to know a reading", "a casual look", "linkage",
    ),
    CLASSES: Words(
        "one curve per class of homes", "records are shared by a class; the utility is trusted",
        "a unique record", "what all of a class have in common; knowledge of its other members",
    ),
    DP: Words(
        "differential privacy", "ε for each reading, whatever an attacker knows; the utility is trusted",
        "linkage, membership, differences", "what many readings of one home tell together; the utility itself",
    ),
    SYNTHETIC: Words(
        "synthetic days", "none without noise in its training; the utility is trusted",
        "linkage of records, there are none", "memorised days; membership",
    ),
    FEDERATED: Words(
        "federated, exact least squares", "retailers keep readings, the coordinator sees sums; all are semi-honest",
        "a coordinator that reads members' data", "two totals that differ by one home; its own retailer",
    ),
    SECURE: Words(
        "secure sum among retailers", "the coordinator sees the total alone; all are semi-honest, most stay",
        "a coordinator that reads members' data", "what the total tells; its own retailer",
    ),
    MPC: Words(
        "shares of meters among aggregators", "nobody sees a reading; of 5 aggregators at most 2 work together",
        "the utility; linkage; two sums that differ by one home", "what a total of few tells; 3 aggregators together",
    ),
    HE: Words(
        "homomorphic encryption", "the server sees no reading; it and the key holder do not work together",
        "the server; linkage", "two sums that differ by one home; server and key holder together",
    ),
    SECURE_DP: Words(
        "secure sum, then differential privacy", "ε for each reading; all meters add a part of its noise",
        "linkage, membership, differences, the coordinator", "many readings of one home together; its own retailer",
    ),
    DP_SYNTHETIC: Words(
        "differential privacy, then synthetic", "ε for each reading, also of all records; the utility is trusted",
        "linkage, membership, differences", "many readings of one home together; the utility itself",
    ),
}  # fmt: skip

#: Why a number is not there.
NO_RECORDS, NOT_TWICE, NOT_HERE, BY_NAME, REFUSED = (
    "not measured: no record of a home is given away",
    "not measured: no totals of its own, or a new fit for each home",
    "not measured: its package is not installed",
    "all, by name",
    "refused by aggregators",
)

MEASURED = (
    "Homes are spread over the feeders of the grid at random, and over retailers where nobody holds all of them.",
    "Totals: what is known of the feeders' test hours is dispatched, and priced by the true loads.",
    "Forecast: a linear forecaster learns from what is known of training weeks, and forecasts true loads of the weeks "
    "between; the operator meters its feeders.",
    "Linked: the chance that a home's record is found by a few half-hourly readings of it. Difference: the error of a "
    "home's curve from totals with and without it, over that of the mean home; 0 is read off, 1 and more is no better "
    "than guessing.",
    "Bytes are of all messages until the result is there, hourly readings of all meters among them where a utility "
    "collects them.",
    "Noise comes from the operating system and is drawn anew in every run.",
)
LIMITS = (
    "Who sees raw readings is told by the design of each technique, and not measured here.",
    "Aggregators, server and key holder are parties within one process here; bytes are of their messages. Those "
    "between meters and their retailer are left out.",
    "Membership is not attacked here: what is said of it is the promise. The noise that meters add is drawn as they "
    "draw it, and its sum is not sent: bytes and messages are those of the secure sum without noise.",
    "Synthetic days are those of the generator that is named in the options, which promises nothing.",
    "Where nobody sees readings, forecasters learn from the opened totals; a model that is fitted in secret is not "
    "measured here.",
    "Differential privacy protects one reading at its ε; a home's year takes so many times more noise.",
    "Feeders of a few homes: with more homes noise weighs less, and the rest stays.",
)
