"""Totals of feeders that meters compute together: shared among aggregators, or encrypted for a key holder."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from unlearn.checks import IntArray
from unlearn.errors import ProtocolError
from unlearn.privacy.encrypted import SecretKeys, Summands, encrypted_sum, key_holder, meter, new_keys
from unlearn.privacy.federated.channel import LocalChannel, Traffic
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.mpc import MeterRules, SumRun, seal_readings, sum_meters, trial_meters
from unlearn.studies.comparison.seen import rows_seen
from unlearn.studies.comparison.setting import Setting
from unlearn.studies.comparison.techniques import Made

#: Largest reading of an hour in Wh that a meter may share or encrypt.
LARGEST_WH = 65_535
#: Hours of the trial whether a difference is refused.
_TRIAL_HOURS = 24


def readings_wh(setting: Setting) -> IntArray:
    """Hourly readings of all homes in whole Wh, shape (C, H)."""
    return np.rint(1000 * setting.kwh).astype(np.int64)


def _least(setting: Setting) -> int:
    """Meters of the smallest feeder: the most that a total of each feeder may be asked to have."""
    return max(2, min(setting.options.minimum, int(np.bincount(setting.feeders.feeder_of).min())))


def shared(setting: Setting) -> Iterator[Made]:
    """Readings in shares among aggregators, of whom two together learn nothing; feeders' totals are opened."""
    start = time.perf_counter()
    names = setting.feeders.names
    trial = trial_meters([names[b] for b in setting.feeders.feeder_of], MeterRules(minimum=_least(setting)))
    wh = readings_wh(setting)
    run = SumRun.new(trial.directory, "all hours", n_values=wh.shape[1])
    everybody = range(len(wh))
    channel = LocalChannel(trial.parties())
    sealed = seal_readings(trial.directory, run, everybody, trial.keys, wh)
    found = sum_meters(channel, trial.directory, run, sealed)
    place = [found.groups.index(name) for name in names]
    kwh = setting.feeders.by_day(found.totals[place] / 1000)
    spent = time.perf_counter() - start
    # Each box goes from its meter to the head-end, which carries it on to its aggregator.
    boxes = sum(own.boxes.nbytes for own in sealed.values())
    refuses, seen = a_day_shared(setting)
    yield Made(kwh, spent, boxes + channel.traffic.n_bytes(), len(wh) + len(channel.members),
               refuses=refuses, seen=seen)  # fmt: skip


def a_day_shared(setting: Setting) -> tuple[bool, float]:
    """Whether aggregators refuse totals of the same hours that differ by one meter, and open each of them alone.

    And the share of meters whose readings of that day stand in a recorded message or box.
    """
    names = setting.feeders.names
    rules = MeterRules(minimum=max(2, _least(setting) - 1))
    trial = trial_meters([names[b] for b in setting.feeders.feeder_of], rules)
    wh = readings_wh(setting)[:, :_TRIAL_HOURS]
    messages: list[bytes] = []

    def opens(channel: LocalChannel, first: int) -> bool:
        run = SumRun.new(trial.directory, "a day", n_values=wh.shape[1])
        sealed = seal_readings(trial.directory, run, range(first, len(wh)), trial.keys[first:], wh[first:])
        messages.extend(own.boxes.tobytes() for own in sealed.values())
        try:
            sum_meters(channel, trial.directory, run, sealed)
        except ProtocolError:
            return False
        return True

    asked_twice, fresh = LocalChannel(trial.parties(), full=True), LocalChannel(trial.parties())
    refuses = opens(asked_twice, 0) and opens(fresh, 1) and not opens(asked_twice, 1)
    messages += [one.content for one in asked_twice.traffic.sent]
    return refuses, rows_seen(messages, wh)


def encrypted(setting: Setting) -> Iterator[Made]:
    """Encrypted readings that a server adds up by feeder; a key holder decrypts totals alone."""
    start = time.perf_counter()
    wh = readings_wh(setting)
    where, total, n_bytes, n_feeders = setting.feeders.feeder_of, [], 0, len(setting.feeders.names)
    own = _summands(setting, wh)
    keys = new_keys(own)
    for b in range(n_feeders):
        sums, traffic = _encrypted_feeder(setting, wh[where == b], own, keys)
        total.append(sums)
        n_bytes += traffic.n_bytes()
    spent = time.perf_counter() - start
    kwh = setting.feeders.by_day(np.array(total, dtype=np.float64) / 1000)
    day = wh[where == 0][:, :_TRIAL_HOURS]
    _, recorded = _encrypted_feeder(setting, day, one := _summands(setting, day), new_keys(one), full=True)
    seen = rows_seen((message.content for message in recorded.sent), day)
    yield Made(kwh, spent, n_bytes, len(wh) + 2, seen=seen)


def _summands(setting: Setting, wh: IntArray) -> Summands:
    addends = int(np.bincount(setting.feeders.feeder_of).max())
    return Summands(n_values=wh.shape[1], low=0, high=LARGEST_WH, addends=addends)


def _encrypted_feeder(
    setting: Setting, wh: IntArray, own: Summands, keys: SecretKeys, full: bool = False
) -> tuple[IntArray, Traffic]:
    """Sums of the meters of a feeder, shape (H,), and what was sent for them."""
    names = [f"meter_{i}" for i in range(len(wh))]
    identities = {name: Identity.new() for name in (*names, "server", "holder")}
    roster = Roster({name: one.public for name, one in identities.items()})
    parties = [
        meter(name, identities[name], roster, "holder", own, lambda row=row: row)  # type: ignore[misc]
        for name, row in zip(names, wh, strict=True)
    ]
    parties.append(key_holder("holder", identities["holder"], keys, roster, "server", _least(setting)))
    channel = LocalChannel(parties, full=full)
    found = encrypted_sum(channel, "server", identities["server"], roster, "holder").sums
    return np.array(found, dtype=np.int64), channel.traffic
