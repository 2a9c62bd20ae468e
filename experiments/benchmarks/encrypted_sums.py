"""Encrypted sums and bills of meters, with one holder of the key and with several: seconds and bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from unlearn.checks import IntArray
from unlearn.privacy.encrypted import (
    Biller,
    BillHolder,
    BillTerms,
    Encryptor,
    KeyHolder,
    RunningSum,
    SecretKeys,
    Split,
    SplitEncryptor,
    Summands,
    bill_of,
    new_keys,
    new_run,
)
from unlearn.privacy.encrypted.bills import signed_bills
from unlearn.privacy.encrypted.envelope import Ciphertext
from unlearn.privacy.encrypted.split_keys import joined
from unlearn.privacy.federated import Identity, Roster
from unlearn.privacy.federated.messages import Payload
from unlearn.records import RecordTable

SPLIT = Split(("audit", "billing", "security"), threshold=2)
#: A month of half-hours in Wh, by rates in hundredths of pence per kWh.
MONTH = BillTerms(n_values=31 * 48, low=0, high=11_500, highest_rate=6_720)


@dataclass
class Spent:
    """Seconds of meters, of the server and of holders, and bytes, summed as they come."""

    meters: float = 0.0
    server: float = 0.0
    opening: float = 0.0
    meter_bytes: int = 0
    n_bytes: int = 0
    at: float = field(default_factory=time.perf_counter)

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self.at = self.at, time.perf_counter()
        return self.at - before

    def add(self, error: float, table: RecordTable, **columns: object) -> None:
        columns = {"part": "private_sums", **columns}
        table.add("meters_seconds", self.meters, "s", **columns)
        table.add("aggregator_seconds", self.server, "s", **columns)
        table.add("opening_seconds", self.opening, "s", **columns)
        table.add("meter_bytes", float(self.meter_bytes), "B", **columns)
        table.add("bytes", float(self.n_bytes), "B", **columns)
        table.add("error", error, "", **columns)


def time_encrypted_sums(readings: IntArray, high: int, what: str, table: RecordTable) -> None:
    """Sum what meters encrypt, one after the other, for one holder and for 2 of 3.

    Args:
        readings: whole numbers, shape (meters, hours).
        high: largest that may be.
        what: as the table names the task.
        table: takes the records.
    """
    n, hours = readings.shape
    summands, run = Summands(hours, 0, high, n), new_run()
    own, roster = members(n)

    one = new_keys(summands)
    encryptor = Encryptor(one.public)
    found = _summed(
        readings, own, roster, {"holder": one}, run, lambda row, name: {"holder": encryptor.encrypt(row, run, name)}
    )
    coefficients, addends = found[1]["holder"]
    error = _error([value + addends * summands.low for value in coefficients[:hours]], readings)
    found[0].add(error, table, what=what, method="BFV, one key holder")

    keys = {holder: new_keys(SPLIT.content(summands)) for holder in SPLIT.holders}
    split = SplitEncryptor(SPLIT, {holder: each.public for holder, each in keys.items()}, summands)
    run = new_run()
    spent, opened = _summed(readings, own, roster, keys, run, lambda row, name: split.encrypt(row, run, name))
    spent.lap()
    total = joined(opened, SPLIT, summands)
    spent.opening += spent.lap()
    spent.add(_error(total, readings), table, what=what, method="BFV, 2 of 3 key holders")


def time_encrypted_bills(n: int, seed: int, table: RecordTable) -> None:
    """Bill a month of half-hours of n meters, for 2 of 3 holders."""
    random, run = np.random.default_rng(seed), new_run()
    own, roster = members(n)
    keys = {holder: new_keys(SPLIT.content(MONTH)) for holder in SPLIT.holders}
    rates = random.integers(1, MONTH.highest_rate + 1, MONTH.n_values)
    encryptor = SplitEncryptor(SPLIT, {holder: one.public for holder, one in keys.items()}, MONTH)
    billers = {holder: Biller(one.public, MONTH, SPLIT, rates, run, roster) for holder, one in keys.items()}
    holders = {holder: BillHolder(one, MONTH, SPLIT, roster, "server") for holder, one in keys.items()}
    spent, errors = Spent(), []
    for name in tqdm([name for name in own if name != "server"], "encrypted bills", delay=2, leave=False):
        readings = random.integers(0, MONTH.high + 1, MONTH.n_values)
        spent.lap()
        sent = _sent(encryptor.encrypt(readings, run, name), own[name])
        spent.meters += spent.lap()
        priced = signed_bills(billers, sent, name, "server", own["server"])
        spent.server += spent.lap()
        opened = {holder: holders[holder].open(one, run, name) for holder, one in priced.items()}
        bill = bill_of(opened, SPLIT, MONTH, rates)
        spent.opening += spent.lap()
        spent.meter_bytes = sum(map(_n_bytes, sent.values()))
        spent.n_bytes += spent.meter_bytes + sum(map(_n_bytes, priced.values()))
        errors.append(abs(bill - int(readings @ rates)))
    what = f"bills of {n:,} meters, {MONTH.n_values:,} half-hours"
    spent.add(float(max(errors)), table, what=what, method="BFV, 2 of 3 key holders")


def members(n: int) -> tuple[dict[str, Identity], Roster]:
    """Meters and the server, with keys to sign with."""
    own = {f"meter-{i}": Identity.new() for i in range(n)} | {"server": Identity.new()}
    return own, Roster({name: one.public for name, one in own.items()})


def _summed(
    readings: IntArray,
    own: dict[str, Identity],
    roster: Roster,
    keys: dict[str, SecretKeys],
    run: str,
    encrypt: Callable[[IntArray, str], dict[str, Ciphertext]],
) -> tuple[Spent, dict[str, tuple[list[int], int]]]:
    """What each holder decrypts."""
    totals = {holder: RunningSum(one.public, run, roster) for holder, one in keys.items()}
    holders = {holder: KeyHolder(one, roster, "server", len(readings)) for holder, one in keys.items()}
    spent = Spent()
    for name, row in zip(
        tqdm(list(own)[: len(readings)], "encrypted sum", delay=2, leave=False), readings, strict=True
    ):
        spent.lap()
        sent = _sent(encrypt(row, name), own[name])
        spent.meters += spent.lap()
        for holder, payload in sent.items():
            totals[holder].add(payload, name)
        spent.server += spent.lap()
        spent.meter_bytes = sum(map(_n_bytes, sent.values()))
        spent.n_bytes += spent.meter_bytes
    spent.lap()
    messages = _sent({holder: total.total("server") for holder, total in totals.items()}, own["server"])
    opened = {holder: holders[holder].open_coefficients(one, run) for holder, one in messages.items()}
    spent.opening += spent.lap()
    spent.n_bytes += sum(map(_n_bytes, messages.values()))
    return spent, opened


def _sent(ciphertexts: dict[str, Ciphertext], identity: Identity) -> dict[str, Payload]:
    return {holder: one.signed(identity).payload() for holder, one in ciphertexts.items()}


def _n_bytes(payload: Payload) -> int:
    return sum(one.nbytes for one in payload.values())


def _error(sums: list[int], readings: IntArray) -> float:
    return float(np.abs(np.array(sums) - readings.sum(axis=0)).max())
