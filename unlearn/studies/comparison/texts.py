"""What each technique promises, and against whom, in words."""

from __future__ import annotations

from typing import NamedTuple

from unlearn.studies.comparison.options import (
    CLASSES,
    DP,
    DP_HOME,
    DP_SYNTHETIC,
    FEDERATED,
    FEDERATED_DP,
    HE,
    HE_FORECAST,
    MPC,
    MPC_FIT,
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
        "linkage of records", "two sums that differ by one home; membership; the utility itself",
    ),
    PSEUDONYMS: Words(
        "pseudonyms", "names are replaced; nobody is assumed to know a reading", "a casual look", "linkage",
    ),
    CLASSES: Words(
        "one curve per class of homes", "records are shared by a class; the utility is trusted",
        "a unique record", "what all of a class have in common; knowledge of its other members",
    ),
    DP: Words(
        "DP of a reading", "ε for each reading, whatever an attacker knows; the utility is trusted",
        "knowledge of a single reading", "what many readings of one home tell together; the utility itself",
    ),
    DP_HOME: Words(
        "DP of a home", "(ε, δ) for all readings of a home together; the utility is trusted",
        "linkage, membership, differences", "the utility itself",
    ),
    SYNTHETIC: Words(
        "synthetic days", "none without noise in its training; the utility is trusted",
        "linkage of records, there are none", "memorised days; membership",
    ),
    FEDERATED: Words(
        "federated, exact least squares", "retailers keep readings, the coordinator sees sums; all are semi-honest",
        "a coordinator that reads members' data", "two sums that differ by one home; its own retailer",
    ),
    SECURE: Words(
        "secure sum among retailers", "the coordinator sees the total alone; all are semi-honest, most stay",
        "a coordinator that reads members' data", "two sums that differ by one home; membership; its own retailer",
    ),
    MPC: Words(
        "MPC: shares of meters", "nobody sees a reading; of 5 aggregators at most 2 work together",
        "the utility; linkage; two sums that differ by one home", "membership in a total; 3 aggregators together",
    ),
    HE: Words(
        "HE: encrypted sums", "the server sees no reading; it and the key holder do not work together",
        "the server; linkage", "two sums that differ by one home; membership; server and key holder together",
    ),
    MPC_FIT: Words(
        "MPC: least squares on shares", "of retailers fewer than half work together; coefficients are opened; all are "
        "semi-honest", "other retailers, the utility", "what coefficients tell of feeders; its own retailer",
    ),
    HE_FORECAST: Words(
        "HE: forecast of encrypted loads", "the server sees no load and no forecast; it follows the protocol",
        "the server", "the client, who solves for weights by enough hours; whoever fitted the model",
    ),
    SECURE_DP: Words(
        "MPC, then DP of a reading", "ε for each reading; all meters add a part of its noise",
        "the coordinator; knowledge of a single reading", "many readings of one home together; its own retailer",
    ),
    DP_SYNTHETIC: Words(
        "DP of a reading, then synthetic", "ε for each reading, also of all records; the utility is trusted",
        "linkage; knowledge of a single reading", "many readings of one home together; the utility itself",
    ),
    FEDERATED_DP: Words(
        "federated, then DP of a home", "(ε, δ) for all readings of a home; all retailers add a part of its noise and "
        "none works with the coordinator",
        "the coordinator; linkage, membership, differences", "its own retailer",
    ),
}  # fmt: skip

#: What stands where an attack gives no number.
NOTHING, NOT_HERE, BY_NAME, REFUSED = "–", "not installed", "all, by name", "refused"
#: What a sentence says of a technique that is not in the records.
NOT_MEASURED = "not measured"

MEASURED = (
    "Homes are spread over the feeders of the grid at random, and over retailers where nobody holds all of them.",
    "Totals: what is known of the feeders' test hours is dispatched, and priced by the true loads.",
    "Forecast: a linear forecaster learns from what is known of training weeks, and forecasts true loads of the weeks "
    "between; the operator meters its feeders. Least squares on shares and the private profile know the calendar "
    "alone. The private profile is that of the mean home, times the homes of a feeder. The encrypted forecast is "
    "that of the model without protection.",
    "A federation learns from each retailer's own loads, scaled to the feeders: its model is that of these rows "
    "together, and not that of the feeders' totals.",
    "Readings sent: the share of homes, or of retailers' loads and encrypted features, of which consecutive numbers "
    "stand in a recorded message, in plain or, in a secure sum, as it encodes them. Of least squares on shares and of "
    "the private profile it is what each home's part is made of, in plain alone. A utility that collects "
    "them is the control: a home of which a day has no four different readings in a row is not found there either.",
    "Linked: the chance that a home's record is found by a few half-hourly readings of it.",
    "Membership: the AUC of who tells by a week of a total of up to 15 homes whether a home that he knows is in it; "
    "0.5 is a guess.",
    "Error of a curve: that of a home from totals with and without it, over that of the mean home; 0 is read off, 1 "
    "and more is no better than guessing. Of a federation it is a mean day, from sums before and after a withdrawal.",
    "Bytes are of all messages until the result is there, hourly readings of all meters among them where a utility "
    "collects them.",
    "Noise comes from the operating system and is drawn anew in every run.",
)
LIMITS = (
    "A dash says that there is nothing to attack so: no records, no totals of its own, or a new fit for each home.",
    "What was searched for in messages is numbers in plain. That shares, masks and ciphertexts hide them otherwise is "
    "the promise of the technique.",
    "No technique here sends gradients, so that gradient inversion has nothing to invert; the study `federated` "
    "attacks them. Synthetic days are attacked in the study `leakage`.",
    "Retailers of least squares on shares are processes of their own; all other parties are within one process, and "
    "bytes are of their messages. Those between meters and their retailer are left out.",
    "The noise that meters add is drawn as they draw it, and its sum is not sent: bytes and messages are those of the "
    "secure sum without noise.",
    "Synthetic days are those of the generator that is named in the options, which promises nothing.",
    "Differential privacy of a reading is a weak promise: a home's year takes so many times more noise, as the row of "
    "a home shows.",
    "Feeders of a few homes: with more homes noise weighs less, and the rest stays.",
)
