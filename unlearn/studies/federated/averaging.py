"""Federated averaging of the Mixer: beside pooled training and each utility alone, and where a member goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from unlearn.data import LoadDataset
from unlearn.privacy.federated.adversaries import PoisonedLearner, ScaledUpdates
from unlearn.privacy.federated.averaged_network import AveragedNetwork, fit_averaged
from unlearn.privacy.federated.learners import Learner
from unlearn.privacy.federated.training import TRAIN, flattened
from unlearn.records import RecordTable
from unlearn.studies.federated.members import (
    ARCHITECTURE,
    averaging_channel,
    averaging_options,
    learners_of,
    secure_channel,
)
from unlearn.studies.federated.options import (
    ALONE,
    AVERAGED,
    DROPPED,
    FEDERATED,
    LINEAR,
    MEDIAN,
    MIXER,
    NOTHING_WRONG,
    POISONED,
    POOLED,
    PROCESSES,
    SCALED,
    SECURE,
    WEIGHTED_MEAN,
)
from unlearn.studies.federated.pooled import StackedLearner, fit_pooled, relative_distance
from unlearn.studies.federated.setting import Setting


def measure_averaging(setting: Setting, table: RecordTable) -> None:
    """Add errors and costs of every way to train the Mixer."""
    own = {"part": "averaging", "forecaster": MIXER}
    datasets, settings = setting.datasets, setting.options.averaging
    right = {"wrong": NOTHING_WRONG, "aggregate": WEIGHTED_MEAN}
    found = averaged_by_all(setting)
    _add(setting, table, found, setting.known["spent"], **own, method=AVERAGED, **right)

    learners = learners_of(datasets)
    start, channel = time.perf_counter(), secure_channel(learners)
    secure = fit_averaged(channel, ARCHITECTURE, averaging_options(settings, setting.seed, secure=True))
    spent = {"seconds": time.perf_counter() - start, "bytes": float(channel.traffic.n_bytes())}
    _add(setting, table, secure, spent, **own, method=SECURE, **right)

    pooled, seconds = _alone(setting, StackedLearner(datasets.values(), ARCHITECTURE), POOLED)
    _add(setting, table, pooled, {"seconds": seconds}, **own, method=POOLED)
    each = {name: _alone(setting, learner, name)[0] for name, learner in learners.items()}
    setting.add_forecasts(table, datasets, {name: one.forecast for name, one in each.items()}, **own, method=ALONE)
    linear = fit_pooled(datasets.values())
    setting.add_forecasts(table, datasets, dict.fromkeys(datasets, linear.forecast), part="averaging",
                          forecaster=LINEAR, method=FEDERATED)  # fmt: skip


def measure_processes(setting: Setting, table: RecordTable) -> None:
    """Add the same averaging across processes, and how far it is from that within one."""
    from unlearn.studies.federated.processes import averaged_in_processes

    found, spent = averaged_in_processes(setting)
    weights = [flattened(one.averaged.weights) for one in (found, averaged_by_all(setting))]
    own = {"part": "averaging", "forecaster": MIXER, "method": PROCESSES}
    table.add("distance_to_one_process", relative_distance(*weights), "relative", **own)
    _add(setting, table, found, spent, **own)


def averaged_by_all(setting: Setting) -> AveragedNetwork:
    """The Mixer that all members average in plain sight, trained once for each setting."""
    if "averaged" not in setting.known:
        channel, start = averaging_channel(learners_of(setting.datasets)), time.perf_counter()
        options = averaging_options(setting.options.averaging, setting.seed)
        setting.known["averaged"] = fit_averaged(channel, ARCHITECTURE, options)
        setting.known["spent"] = {
            "seconds": time.perf_counter() - start,
            "bytes": float(channel.traffic.n_bytes()),
        }
    return setting.known["averaged"]


def _alone(setting: Setting, learner: Learner, name: str) -> tuple[AveragedNetwork, float]:
    """A federation of one: the same steps, orders and learning rates, on the rows of one learner."""
    start = time.perf_counter()
    options = averaging_options(setting.options.averaging, setting.seed, least=1)
    found = fit_averaged(averaging_channel({name: learner}), ARCHITECTURE, options)
    return found, time.perf_counter() - start


def measure_attacked(setting: Setting, table: RecordTable) -> None:
    """Add errors at honest members where one goes wrong, by how updates are put together."""
    options, learners = setting.options, learners_of(setting.datasets)
    honest: dict[str, LoadDataset] = {n: d for n, d in setting.datasets.items() if n != setting.leaver.name}
    aggregates = options.aggregates
    if setting.seed != options.seeds[0]:
        aggregates = tuple(own for own in aggregates if own in (WEIGHTED_MEAN, MEDIAN))
    for aggregate in aggregates:
        for wrong in (NOTHING_WRONG, DROPPED, SCALED, POISONED):
            if wrong == DROPPED and aggregate != WEIGHTED_MEAN:
                continue
            if wrong == NOTHING_WRONG and aggregate == WEIGHTED_MEAN:
                found = averaged_by_all(setting)
            else:
                found = _gone_wrong(setting, learners, wrong, aggregate)
            setting.add_forecasts(table, honest, dict.fromkeys(honest, found.forecast), part="attacked",
                                  forecaster=MIXER, method=AVERAGED, wrong=wrong, aggregate=aggregate)  # fmt: skip


def _gone_wrong(setting: Setting, learners: Mapping[str, Learner], wrong: str, aggregate: str) -> AveragedNetwork:
    bad = setting.leaver
    members, lost = dict(learners), None
    if wrong == SCALED:
        members[bad.name] = ScaledUpdates(learners[bad.name], setting.options.scale)
    elif wrong == POISONED:
        members[bad.name] = PoisonedLearner(bad.dataset, ARCHITECTURE, setting.options.poison)
    elif wrong == DROPPED:
        lost = _vanishing(bad.name)
    options = averaging_options(setting.options.averaging, setting.seed, aggregate)
    return fit_averaged(averaging_channel(members, lost), ARCHITECTURE, options)


def _vanishing(name: str) -> Callable[[str, str, int], bool]:
    """A member that answers the first round of training, and none after it."""
    return lambda task, member, before: task == TRAIN and member == name and before > 0


def _add(
    setting: Setting, table: RecordTable, found: AveragedNetwork, spent: Mapping[str, float], **columns: str
) -> None:
    for name, value in spent.items():
        table.add(name, value, {"seconds": "s", "bytes": "B"}[name], **columns)
    setting.add_forecasts(table, setting.datasets, dict.fromkeys(setting.names, found.forecast), **columns)
