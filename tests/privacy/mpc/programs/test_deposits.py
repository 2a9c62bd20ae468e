"""Shares come to the server, the period and the commitments that they were signed for, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import Payload, as_bytes, pack, unpack
from unlearn.privacy.mpc.context import rehearse
from unlearn.privacy.mpc.programs.billing import PRIME, Tariff, bill, tariff_public
from unlearn.privacy.mpc.programs.deposits import deposits, servers_input
from unlearn.privacy.mpc.programs.spot_check import commit

SERVERS, PERIOD, N = ("server 1", "server 2", "server 3"), "2026-11", 12
KEYS = {name: Identity.new() for name in ("meter 1", "meter 2")}
ROSTER = Roster({name: key.public for name, key in KEYS.items()})
READINGS = {name: np.arange(N) + 100 * at for at, name in enumerate(KEYS)}
COMMITTED = {name: commit(name, PERIOD, READINGS[name]) for name in KEYS}
FINGERPRINTS = {name: one.fingerprint for name, one in COMMITTED.items()}


def sent(meter: str, period: str = PERIOD, key: Identity | None = None) -> dict[str, Payload]:
    return deposits(meter, period, READINGS[meter], COMMITTED[meter], SERVERS, key or KEYS[meter])


def at(server: str, received: list[Payload]) -> Payload:
    return servers_input(server, PERIOD, [unpack(pack(one)) for one in received], FINGERPRINTS, ROSTER, N)


def test_servers_hold_shares_of_every_meter_in_one_order() -> None:
    parts = [sent(meter) for meter in reversed(KEYS)]
    held = [at(server, [one[server] for one in parts]) for server in SERVERS]
    numbers = sum(one["low"].astype(object) + 2**64 * one["high"].astype(object) for one in held) % PRIME
    np.testing.assert_array_equal(numbers, np.stack(list(READINGS.values())))


@pytest.mark.extras
def test_they_are_billed() -> None:
    parts, tariff = [sent(meter) for meter in KEYS], Tariff((200_000,) * N)
    inputs = {server: at(server, [one[server] for one in parts]) for server in SERVERS} | {"utility": {}}
    bills = rehearse(bill, inputs, tariff_public(tariff, "utility"))["bills"]
    np.testing.assert_array_equal(bills, tariff.bills(np.stack(list(READINGS.values()))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one, two: [one["server 2"], two["server 1"]], "meter 1: expected a deposit for this server"),
        (lambda one, two: [sent("meter 1", "2026-10")["server 1"], two["server 1"]], "for this period"),
        (lambda one, two: [one["server 1"], one["server 1"]], "server 1: expected one deposit of each meter"),
        (lambda one, two: [one["server 1"]], "got none of 1"),
        (lambda one, two: [one["server 1"] | {"meter": as_bytes("meter 9")}, two["server 1"]], "one deposit of each"),
        (lambda one, two: [one["server 1"] | {"meter": as_bytes("meter 2")}, two["server 1"]], "meter 2: .* signed"),
        (lambda one, two: [one["server 1"] | {"low": two["server 1"]["low"]}], "meter 1: .* signed"),
        (lambda one, two: [sent("meter 1", key=KEYS["meter 2"])["server 1"]], "meter 1: .* signed"),
        (lambda one, two: [one["server 1"] | {"low": np.zeros(3, np.uint64)}], "meter 1: deposit"),
        (lambda one, two: [{}], "one deposit of each"),
    ],
)  # fmt: skip
def test_refusals(change: Callable[[dict, dict], list[Payload]], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        at("server 1", change(sent("meter 1"), sent("meter 2")))


def test_other_commitments_are_refused() -> None:
    one = deposits(
        "meter 1", PERIOD, READINGS["meter 1"], commit("meter 1", PERIOD, READINGS["meter 1"]), SERVERS, KEYS["meter 1"]
    )
    with pytest.raises(ProtocolError, match="for this commitments"):
        at("server 1", [one["server 1"]])
    with pytest.raises(InputError, match="expected 12 intervals"):
        deposits("meter 1", PERIOD, np.ones(3), COMMITTED["meter 1"], SERVERS, KEYS["meter 1"])
