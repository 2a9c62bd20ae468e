"""A network forecaster of several members: against training on pooled rows, with scalers that nobody's rows leave."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.privacy.federated.federations import channel_of
from unlearn.data import LoadDataset, StandardScaler, load_dataset
from unlearn.errors import ConvergenceError, InputError, MismatchError, ProtocolError
from unlearn.privacy.federated import (
    AveragedNetwork,
    AveragingOptions,
    LocalTraining,
    NetworkLearner,
    PoisonedLearner,
    ScaledUpdates,
    fit_averaged,
)
from unlearn.privacy.federated.averaged_network import LAYOUT, MOMENTS
from unlearn.privacy.federated.learners import FIXED, initial_weights, untrained_network
from unlearn.privacy.federated.messages import as_bytes, pack, unpack

NAMES = ("north", "south", "west")
FULL = AveragingOptions(rounds=3, batch_size=0, learning_rate=0.05, optimiser="sgd", seed=7)


def loads(seed: int) -> LoadDataset:
    """Few hours of two loads; members have different numbers of them."""
    return load_dataset("synthetic", n_hours=120 + 24 * seed, n_loads=2, random_state=seed)


def learners(names: Sequence[str] = NAMES, double: bool = True) -> dict:
    return {name: NetworkLearner(loads(i), "cnn", double=double) for i, name in enumerate(names)}


def rows_of(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    data = [loads(NAMES.index(name)) for name in names]
    features = np.concatenate([own.features[own.split.train] for own in data])
    return features, np.concatenate([own.load_pu[own.split.train] for own in data])


def pooled_scalers(names: Sequence[str]) -> list[np.ndarray]:
    features, targets = rows_of(names)
    of_features, of_targets = StandardScaler.fit(features, skip=4), StandardScaler.fit(targets)
    return [own.numpy() for own in (of_features.mean, of_features.std, of_targets.mean, of_targets.std)]


def pooled_forecast(names: Sequence[str], options: AveragingOptions, asked: np.ndarray) -> np.ndarray:
    """Gradient descent on all rows, in double precision, by torch alone."""
    features, targets = (torch.from_numpy(own) for own in rows_of(names))
    mean, std, target_mean, target_std = (torch.from_numpy(own) for own in pooled_scalers(names))
    network = untrained_network("cnn", 2, features.shape[2], options.seed).double()
    for number in range(options.rounds):
        loss = (network((features - mean) / std) - (targets - target_mean) / target_std).square().mean()
        steps = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for own, step in zip(network.parameters(), steps, strict=True):
                own -= options.local(number).learning_rate * step
    with torch.no_grad():
        return (network((torch.from_numpy(asked) - mean) / std) * target_std + target_mean).numpy()


@pytest.fixture(scope="module")
def found() -> AveragedNetwork:
    return fit_averaged(channel_of(learners()), "cnn", FULL)


def test_full_gradient_steps_are_those_of_pooled_rows(found: AveragedNetwork) -> None:
    asked = loads(0).features
    np.testing.assert_allclose(found.forecast(asked), pooled_forecast(NAMES, FULL, asked), atol=1e-10)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "secure"])
def test_scalers_are_those_of_pooled_rows(secure: bool) -> None:
    options = replace(FULL, rounds=1, secure=secure)
    model = fit_averaged(channel_of(learners(), secure), "cnn", options)
    for name, expected in zip(FIXED, pooled_scalers(NAMES), strict=True):
        np.testing.assert_allclose(model.averaged.fixed[name], expected, rtol=1e-11, atol=1e-12)
    assert model.scaler_members == NAMES


def test_a_column_that_does_not_vary_is_only_centred() -> None:
    data = []
    for i in range(2):
        own = loads(i)
        features = own.features.copy()
        features[:, :, 5] = 287.123
        data.append(replace(own, features=features))
    members = {name: NetworkLearner(own, "cnn") for name, own in zip(NAMES[:2], data, strict=True)}
    for secure in (False, True):
        model = fit_averaged(channel_of(members, secure), "cnn", replace(FULL, rounds=1, secure=secure))
        np.testing.assert_array_equal(model.averaged.fixed["features/std"][:, 5], 1.0)
        np.testing.assert_allclose(model.averaged.fixed["features/mean"][:, 5], 287.123, rtol=1e-12)


def test_secure_is_plain_to_the_fixed_point(found: AveragedNetwork) -> None:
    secure = fit_averaged(channel_of(learners(), True), "cnn", replace(FULL, secure=True))
    asked = loads(1).features
    np.testing.assert_allclose(secure.forecast(asked), found.forecast(asked), atol=1e-9)


def test_as_a_forecaster_of_one_member(found: AveragedNetwork) -> None:
    own = loads(0)
    model = found.as_forecaster(own)
    np.testing.assert_allclose(model.forecast(own.features), found.forecast(own.features), atol=1e-12)
    assert model.card.limitations
    with pytest.raises(InputError, match="trained as a whole"):
        model.objective(own)
    with pytest.raises(MismatchError, match=r"base_mva, 100\.0, got 1\.0"):
        found.as_forecaster(replace(own, base_mva=1.0))


def test_extractor_and_scaler_are_a_design_of_an_exact_head(found: AveragedNetwork) -> None:
    own = loads(0).features
    rows = found.design.rows(own).numpy()
    np.testing.assert_allclose(rows @ found.head.T, found.forecast(own), atol=1e-12)


@pytest.mark.parametrize("how", ["retrain", "roll_back"])
def test_without_a_member_is_never_having_had_it(found: AveragedNetwork, how: str) -> None:
    after, done = found.without(channel_of(learners()), "south", how)
    left = {name: own for name, own in learners().items() if name != "south"}
    never = fit_averaged(channel_of(left), "cnn", FULL)
    asked = loads(0).features
    np.testing.assert_allclose(after.forecast(asked), never.forecast(asked), atol=1e-12)
    assert after.scaler_members == ("north", "west")
    assert done.limitations == ()


def test_without_a_member_that_joined_later() -> None:
    model = fit_averaged(channel_of(learners()), "cnn", FULL, joined={"south": 2})
    assert model.scaler_members == ("north", "west")
    after, done = model.without(channel_of(learners()), "south", "roll_back")
    never = fit_averaged(channel_of({n: own for n, own in learners().items() if n != "south"}), "cnn", FULL)
    asked = loads(0).features
    np.testing.assert_allclose(after.forecast(asked), never.forecast(asked), atol=1e-12)
    assert (done.first, done.lost, done.limitations) == (2, 1, ())


def test_scalers_that_saw_a_leaver_of_later_rounds_are_said() -> None:
    channel = channel_of(
        learners(), lost=lambda task, member, before: (task, member, before) == ("average/train", "south", 0)
    )
    model = fit_averaged(channel, "cnn", FULL)
    _, done = model.without(channel_of(learners()), "south", "roll_back")
    assert done.first == 1
    assert any("scalers" in said for said in done.limitations)
    with pytest.raises(InputError, match="retrain"):
        model.without(channel_of(learners()), "south", "forget")


@pytest.mark.parametrize(("at", "names"), [(0, NAMES), (1, NAMES[:2])])
def test_scalers_are_those_of_who_answers_the_second_time(at: int, names: tuple[str, ...]) -> None:
    channel = channel_of(learners(), lost=lambda task, member, before: (task, member, before) == (MOMENTS, "west", at))
    model = fit_averaged(channel, "cnn", replace(FULL, rounds=1))
    assert model.scaler_members == names
    for name, expected in zip(FIXED, pooled_scalers(names), strict=True):
        np.testing.assert_allclose(model.averaged.fixed[name], expected, rtol=1e-11, atol=1e-12)


def test_batches_are_those_of_the_seed_in_single_precision_too() -> None:
    options = AveragingOptions(rounds=2, batch_size=16, learning_rate=1e-3)
    one, other = (fit_averaged(channel_of(learners(double=False)), "cnn", options) for _ in range(2))
    another = fit_averaged(channel_of(learners(double=False)), "cnn", replace(options, seed=1))
    asked = loads(0).features
    np.testing.assert_allclose(one.forecast(asked), other.forecast(asked), atol=1e-6)
    assert np.abs(one.forecast(asked) - another.forecast(asked)).max() > 1e-4


def test_training_lowers_the_error() -> None:
    own = loads(2)
    learner = NetworkLearner(own, "mixer")
    rows, scalers = own.split.train, learner.own_scalers()
    options = AveragingOptions(rounds=8, batch_size=16, learning_rate=3e-3, least_members=1)
    model = fit_averaged(channel_of({"north": learner}), "mixer", options)
    error = np.square(model.forecast(own.features[rows]) - own.load_pu[rows]).mean()
    assert error < 0.5 * np.square(own.load_pu[rows] - scalers["targets/mean"]).mean()


def test_a_poisoned_member_trains_on_other_loads_and_reports_true_moments() -> None:
    honest, poisoned = NetworkLearner(loads(0), "cnn"), PoisonedLearner(loads(0), "cnn", 3.0)
    start = {**initial_weights("cnn", *honest.shape), **honest.own_scalers()}
    both = [own.train(start, LocalTraining(), 0, 0) for own in (honest, poisoned)]
    assert any(np.abs(both[0][name] - both[1][name]).max() > 1e-4 for name in both[0])
    for name, value in honest.moments(honest.own_scalers()).items():
        np.testing.assert_array_equal(poisoned.moments(honest.own_scalers())[name], value)
    flipped = ScaledUpdates(honest, -1.0)
    new = flipped.train(start, LocalTraining(), 0, 0)
    for name, value in both[0].items():
        np.testing.assert_allclose(new[name] + value, 2 * start[name], atol=1e-12)
    assert flipped.n_samples == honest.n_samples
    fit_averaged(channel_of({"north": honest, "south": flipped}), "cnn", replace(FULL, rounds=1))


def test_members_of_different_layouts_are_refused() -> None:
    mixed = {"north": NetworkLearner(loads(0), "cnn"), "south": NetworkLearner(replace(loads(1), base_mva=1.0), "cnn")}
    channel = channel_of(mixed)
    with pytest.raises(MismatchError, match=r"south: expected the federation.s base_mva, 100\.0, got 1\.0"):
        fit_averaged(channel, "cnn", FULL)
    assert {one.receiver for one in channel.traffic.sent if one.task == "abort"} >= {"north", "south"}


def test_members_that_do_not_answer_are_refused() -> None:
    for task, said in ((LAYOUT, "expected an answer"), (MOMENTS, "scalers")):
        channel = channel_of(learners(), lost=lambda asked, member, before, task=task: asked == task)
        with pytest.raises(ProtocolError, match=said):
            fit_averaged(channel, "cnn", FULL)


def test_a_network_comes_back_from_a_file(found: AveragedNetwork) -> None:
    again = AveragedNetwork.from_payload(unpack(pack(found.to_payload())))
    features = loads(0).features[:5]
    np.testing.assert_array_equal(again.forecast(features), found.forecast(features))
    assert (again.layout, again.scaler_members, again.seed) == (found.layout, found.scaler_members, found.seed)
    assert again.averaged.history == found.averaged.history
    assert again.averaged.options == found.averaged.options
    for name, value in (("said", as_bytes("{}")), ("weight/1.bias", np.zeros(9)), ("fixed/targets/std", np.zeros(9))):
        with pytest.raises(ProtocolError, match="model"):
            AveragedNetwork.from_payload({**found.to_payload(), name: value})


def test_refusals(found: AveragedNetwork) -> None:
    with pytest.raises(InputError, match="architecture"):
        NetworkLearner(loads(0), "linear")
    with pytest.raises(InputError, match="architecture"):
        fit_averaged(channel_of(learners()), "linear")
    with pytest.raises(InputError, match="features"):
        found.forecast(np.zeros((3, 2, 2)))
    with pytest.raises(InputError, match="factor"):
        PoisonedLearner(loads(0), factor=np.inf)
    with pytest.raises(InputError, match="factor"):
        ScaledUpdates(NetworkLearner(loads(0), "cnn"), np.nan)
    own = NetworkLearner(loads(0), "cnn")
    weights = {**initial_weights("cnn", *own.shape), **own.own_scalers()}
    with pytest.raises(ConvergenceError, match="diverged"):
        own.train(weights, LocalTraining(epochs=30, learning_rate=1e30, optimiser="sgd"), 0, 0)
    with pytest.raises(ProtocolError, match="weights of a cnn"):
        own.train(initial_weights("cnn", *own.shape), LocalTraining(), 0, 0)
    with pytest.raises(ProtocolError, match="scale"):
        own.moments({})


@pytest.mark.parametrize(
    "wrong",
    [{}, {"epochs": np.array([0])}, {"epochs": np.array([1.0])}, {"optimiser": np.frombuffer(b"x", dtype=np.uint8)}],
)
def test_settings_of_a_round_that_are_none_are_refused(wrong: dict) -> None:
    options = LocalTraining(3, 8, 0.5, "sgd", 2.0)
    assert LocalTraining.from_payload(options.to_payload()) == options
    with pytest.raises(ProtocolError, match="settings of a round"):
        LocalTraining.from_payload({**options.to_payload(), **wrong} if wrong else {})
