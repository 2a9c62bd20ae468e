"""Forecasters of feeders that nobody may see the readings, the features or one home behind."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterator

import numpy as np
import torch

from unlearn.checks import FloatArray, IntArray
from unlearn.forecasters import fit_linear
from unlearn.privacy.federated.channel import LocalChannel
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.noise import FederatedBudget, SharedNoise
from unlearn.privacy.federated.party import Party
from unlearn.privacy.federated.private import PrivateContribution, private_round, private_summand
from unlearn.studies._shared.bus_loads import LAG_DAYS
from unlearn.studies.comparison.seen import rows_seen
from unlearn.studies.comparison.setting import Setting
from unlearn.studies.comparison.techniques import Made, retailers

#: Harmonics of the day: of a model that is opened without noise, and of one in which each number takes noise.
FINE, COARSE = 6, 2
#: Wanted bound of the error of an encrypted forecast, in p.u.
PRECISION_PU = 1e-6
_PROGRAM = "unlearn.privacy.mpc.programs.least_squares:fit"
_PROFILE = "mean profile"


def calendar(setting: Setting, harmonics: int) -> FloatArray:
    """Public columns of every hour: the season, and harmonics of the day on workdays and at weekends, shape (H, D)."""
    days = setting.feeders.plan.days
    day, hour = np.repeat(np.arange(len(days)), 24), np.tile(np.arange(24), len(days))
    weekend = (((days.astype("datetime64[D]").astype(np.int64) + 3) % 7) >= 5)[day].astype(np.float64)
    angles = 2 * np.pi * hour[:, None] * np.arange(1, harmonics + 1) / 24
    shape = np.concatenate([np.ones((len(day), 1)), np.sin(angles), np.cos(angles)], axis=1)
    of_year = (days - days.astype("datetime64[Y]")).astype("timedelta64[D]").astype(np.int64)
    year = (2 * np.pi * of_year / 365.25)[day]
    return np.concatenate([shape, weekend[:, None] * shape, np.sin(year)[:, None], np.cos(year)[:, None]], axis=1)


def _hours(setting: Setting) -> tuple[IntArray, IntArray]:
    """Training hours, and the priced test hours, of all hours."""
    training = setting.feeders.plan.training.copy()
    training[:LAG_DAYS] = False
    return np.flatnonzero(np.repeat(training, 24)), setting.rows + 24 * LAG_DAYS


def _scale(setting: Setting) -> FloatArray:
    """p.u. per kW of each feeder, shape (B,)."""
    return np.asarray(setting.feeders.factor) / setting.feeders.cost.case.base_mva


def shared_fit(setting: Setting) -> Iterator[Made]:
    """Least squares on shares: retailers in processes of their own; coefficients of feeders alone are opened."""
    from unlearn.privacy.mpc import JointOptions, compute
    from unlearn.privacy.mpc.programs.least_squares import own_coefficients

    start = time.perf_counter()
    rows, (train, test), where = calendar(setting, FINE), _hours(setting), setting.feeders.feeder_of
    series = setting.kwh[:, train] * _scale(setting)[where][:, None]
    names, _, _ = retailers(setting)
    homes = {name: np.flatnonzero(setting.retailer_of == r) for r, name in enumerate(names)}
    inputs = {name: {"parts": own_coefficients(rows[train], series[own])} for name, own in homes.items()}
    private = np.concatenate([one["parts"] for one in inputs.values()])
    for at in range(len(names), 3):  # parties that only compute
        inputs[f"helper_{at}"] = {}
    public = {
        "run": secrets.token_hex(16),
        "customers": {name: [str(one) for one in own] for name, own in homes.items()},
        "loads": {name: where[own].tolist() for name, own in homes.items()},
        "least": 2,
    }
    outcome = compute(_PROGRAM, inputs, public, JointOptions(record=True, timeout_s=600.0))
    theta = outcome.results[names[0]]["theta"]
    spent = time.perf_counter() - start
    received = (content for by in outcome.received.values() for content in by.values())
    seen = rows_seen(received, private)
    loads = setting.by_feeder(setting.kwh).transpose(0, 2, 1).reshape(len(rows), -1) * _scale(setting)
    plain = np.linalg.lstsq(rows[train], loads[train])[0].T
    forecast = rows[test] @ theta.T
    differs = float(np.abs(forecast - rows[test] @ plain.T).max())
    yield Made(None, spent, sum(outcome.n_bytes.values()), len(inputs), forecast=lambda features: forecast,
               seen=seen, differs=differs)  # fmt: skip


def encrypted_forecast(setting: Setting) -> Iterator[Made]:
    """Forecasts of the plain model from encrypted features: the server sees neither features nor forecasts."""
    from unlearn.privacy.encrypted import ForecastClient, ForecastServer, forecast_task
    from unlearn.privacy.encrypted.forecast import head_of
    from unlearn.privacy.encrypted.precision import parameters

    model = fit_linear(setting.dataset(setting.by_feeder(setting.kwh)))
    start = time.perf_counter()
    features = model.design(torch.from_numpy(setting.test.features[setting.rows]))[:, :-1].numpy()
    weights, intercept = head_of(model.head.numpy())
    # Round numbers, which the server tells the client, say little of weights.
    largest = _power_above(float(np.abs(features).max()))
    mass = _power_above(float((np.abs(weights).sum(axis=1) + np.abs(intercept) / largest).max()))
    task = forecast_task(features.shape[1], mass, largest, PRECISION_PU)
    identities = {name: Identity.new() for name in ("utility", "server")}
    roster = Roster({name: one.public for name, one in identities.items()})
    server = ForecastServer("server", identities["server"], roster, weights, intercept, task, hours=len(features))
    channel = LocalChannel([Party("server", server.handlers)], full=True)
    client = ForecastClient("utility", identities["utility"], roster, channel, "server", task)
    slots = parameters(task).slots
    forecast = np.concatenate(
        [client.forecast(features[at : at + slots]).values for at in range(0, len(features), slots)]
    )
    spent = time.perf_counter() - start
    seen = rows_seen((one.content for one in channel.traffic.sent), features.T)
    plain = features @ weights.T + intercept
    yield Made(None, spent, channel.traffic.n_bytes(), 2, forecast=lambda features: forecast, seen=seen,
               differs=float(np.abs(forecast - plain).max()))  # fmt: skip


def private_profile(setting: Setting) -> Iterator[Made]:
    """A profile of the mean home, in a secure sum to which each retailer adds its share of noise.

    A home's vector is the projection of its curve on the calendar, clipped; so its whole year has (ε, δ). Feeders are
    forecast by their number of homes.
    """
    own, start = setting.options, time.perf_counter()
    rows, (train, test) = calendar(setting, COARSE), _hours(setting)
    basis, triangle = np.linalg.qr(rows[train])
    clip = own.kwh_per_home * math.sqrt(len(train))
    names, keys, roster = retailers(setting)
    noise = SharedNoise.for_budget(own.main_epsilon, own.delta, 1, clip, least_members=len(names))
    vectors = {
        name: setting.kwh[np.flatnonzero(setting.retailer_of == r)][:, train] @ basis for r, name in enumerate(names)
    }

    def party(name: str) -> Party:
        given = PrivateContribution(lambda asked: vectors[name], noise, 1, setting.source)
        return Party(name, private_summand(name, keys[name], roster, {_PROFILE: given}))

    channel = LocalChannel([party(name) for name in names], full=True)
    total, _ = private_round(channel, _PROFILE, {}, FederatedBudget(noise, own.main_epsilon, own.delta))
    profile = rows[test] @ np.linalg.solve(triangle, total / len(setting.kwh))
    counts = np.bincount(setting.feeders.feeder_of, minlength=len(setting.feeders.names))
    forecast = np.maximum(profile, 0.0)[:, None] * counts * _scale(setting)
    spent = time.perf_counter() - start
    seen = rows_seen((one.content for one in channel.traffic.sent), np.concatenate(list(vectors.values())))
    yield Made(None, spent, channel.traffic.n_bytes(), len(names), own.main_epsilon,
               forecast=lambda features: forecast, seen=seen)  # fmt: skip


def _power_above(value: float) -> float:
    return 2.0 ** math.ceil(math.log2(value) + 1e-9)
