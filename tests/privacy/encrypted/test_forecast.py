"""A forecast from encrypted features is the plain one, costs the grid the same, and shows the server nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unlearn.data import LoadDataset
from unlearn.errors import InputError, ProtocolError
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.privacy.encrypted.ckks import RealDecryptor, RealEncryptor, new_real_keys, weighted_sums
from unlearn.privacy.encrypted.envelope import Ciphertext, new_run
from unlearn.privacy.encrypted.forecast import ForecastClient, ForecastServer, forecast_task, head_of
from unlearn.privacy.encrypted.precision import Task, parameters
from unlearn.privacy.federated import Identity, LocalChannel, Party, Roster
from unlearn.privacy.federated.messages import unpack

OWN = {name: Identity.new() for name in ("server", "utility")}
ROSTER = Roster({name: one.public for name, one in OWN.items()})


def client_of(head: np.ndarray, task: Task, hours: int | None = None, **channel: bool) -> ForecastClient:
    server = ForecastServer("server", OWN["server"], ROSTER, *head_of(head), task, hours)
    sent = LocalChannel([Party("server", server.handlers)], **channel)
    return ForecastClient("utility", OWN["utility"], ROSTER, sent, "server", task)


def task_for(head: np.ndarray, largest: float, absolute: float = 1e-6) -> Task:
    return forecast_task(head.shape[1] - 1, float(np.ceil(np.abs(head).sum(axis=1).max())), largest, absolute)


@pytest.mark.extras
@pytest.mark.parametrize("which", ["linear", "cnn"])
def test_encrypted_forecasts_cost_the_grid_what_plain_ones_do(
    which: str, request: pytest.FixtureRequest, dataset: LoadDataset, grid: GridCase, cost: OperatingCost
) -> None:
    model: Forecaster = request.getfixturevalue(which)
    rows = dataset.split.test[:24]
    with torch.no_grad():
        design = model.design(torch.as_tensor(dataset.features[rows])).double().numpy()
        head = model.head.double().numpy()
    plain = design @ head.T
    features = design[:, :-1]
    task = task_for(head, float(np.ceil(np.abs(features).max())))
    found = client_of(head, task).forecast(features)
    assert np.abs(found.values - plain).max() <= found.error <= 1e-6
    truth = dataset.load_pu[rows]
    costs = [float(cost(np.clip(one, 0.0, None), truth).total.mean()) for one in (plain, found.values)]
    assert costs[1] == pytest.approx(costs[0], rel=1e-4)


@pytest.mark.extras
@pytest.mark.parametrize("seed", [0, 1])
def test_thousands_of_random_and_of_worst_hours_stay_within_the_bound(seed: int) -> None:
    """Each slot is an input of its own: 4,096 random ones, or the border of the range in all and in alternating signs.

    Weights lie half a step beside where they are rounded to, all in one direction, so that errors add up.
    """
    rng, features, top = np.random.default_rng(seed), 12, 30.0
    task = forecast_task(features, 40.0, top, 1e-5)
    n, step = parameters(task).slots, 2.0 ** -parameters(task).weight_bits
    weights = np.stack([np.full(features, 0.25), rng.uniform(-3, 3, features), 10.0 ** rng.uniform(-6, 0, features)])
    weights = (np.round(weights / step) + 0.49) * step
    head = np.c_[weights, [top, -1.0, 0.0]]
    client = client_of(head, task, hours=3 * n)
    patterns = (
        rng.uniform(-top, top, (n, features)) * 10.0 ** rng.uniform(-9, 0, (n, 1)),
        np.full((n, features), top),
        np.where(np.arange(features) == 0, top * (-1.0) ** np.arange(n)[:, None], rng.choice([-top, top], features)),
    )
    for x in patterns:
        found = client.forecast(x)
        assert np.abs(found.values - (x @ weights.T + head[:, -1])).max() <= found.error <= 1e-5


@pytest.mark.extras
def test_results_do_not_tell_of_the_weights_by_their_noise() -> None:
    """Slots that are not used, imaginary parts and last digits are flooded: two answers to one question share none."""
    rng = np.random.default_rng(0)
    task = Task(10.0, 1e-4, 4, 8.0, flooded=True)
    keys = new_real_keys(task)
    found = RealEncryptor(keys.public).encrypt(rng.uniform(-1, 1, (3, 5)), new_run(), "utility", "features")
    weights, holder, own = rng.uniform(-1, 1, (1, 3)), RealDecryptor(keys), parameters(task)
    answers = [weighted_sums(keys.public, found, weights, np.zeros(1), 5)[0] for _ in range(2)]
    first, second = (holder.numbers(one, "answer") for one in answers)
    assert np.abs(first[5:]).std() > 0.1 * own.flood
    assert np.abs(first - second).std() > 0.1 * own.flood
    assert np.abs(first[:5] - second[:5]).max() <= 2 * own.error


@pytest.mark.extras
def test_a_client_gets_no_more_hours_than_leave_weights_unknown() -> None:
    head = np.array([[1.0, -2.0, 0.5, 0.25]])
    client = client_of(head, task_for(head, 10.0))
    client.forecast(np.ones((2, 3)))
    with pytest.raises(ProtocolError, match="at most 3 hours of one client, got 4 in all"):
        client.forecast(np.ones((2, 3)))
    assert client.forecast(np.ones((1, 3))).values == pytest.approx(-0.25, abs=1e-6)
    with pytest.raises(ProtocolError, match="at most 3 hours of one client, got 4 in all"):
        client.forecast(np.ones((1, 3)))


@pytest.mark.extras
def test_another_number_of_features_is_refused() -> None:
    head = np.ones((1, 21))
    client = client_of(head, task_for(head, 10.0))
    for features, said in ((19, "expected a model of 19 features"), (21, "expected 20 features")):
        with pytest.raises(ProtocolError, match=said):
            client.forecast(np.ones((2, features)))
    # What was not finished counts nothing, and stands in the way of nothing.
    assert client.forecast(np.ones((20, 20))).values == pytest.approx(21.0, abs=1e-6)


@pytest.mark.extras
def test_features_come_in_order_and_once() -> None:
    head, sent = np.ones((1, 21)), []
    client = client_of(head, task_for(head, 10.0))
    handlers = client._channel._parties["server"].handlers
    kept = client._channel.ask

    def ask(task: str, asked: dict) -> object:
        sent.append(asked["server"])
        return kept(task, asked)

    client._channel.ask = ask
    client.forecast(np.ones((2, 20)))
    keys, first, second, _ = sent
    answer = handlers["forecast"]
    handlers["forecast_keys"]({}, keys)
    with pytest.raises(ProtocolError, match="answered before"):
        answer({}, first)
    server = client._channel._parties["server"].handlers["forecast"].__self__
    server._runs.clear()
    with pytest.raises(ProtocolError, match="expected step features 0 to 8 of 2 hours, got features 8 to 16"):
        answer({}, second)
    answer({}, first)
    with pytest.raises(ProtocolError, match="expected step features 8 to 16 of 2 hours, got features 0 to 8"):
        answer({}, first)
    # A request that begins anew forgets what came.
    handlers["forecast_keys"]({}, keys)
    with pytest.raises(ProtocolError, match="expected step features 0 to 8 of 2 hours, got features 8 to 16"):
        answer({}, second)


@pytest.mark.extras
def test_replayed_changed_and_foreign_questions_are_refused() -> None:
    head = np.array([[1.0, -2.0, 0.5]])
    task = task_for(head, 10.0)
    server = ForecastServer("server", OWN["server"], ROSTER, *head_of(head), task, 100)
    channel = LocalChannel([Party("server", server.handlers)], full=True)
    ForecastClient("utility", OWN["utility"], ROSTER, channel, "server", task).forecast(np.ones((2, 2)))
    question = unpack(channel.traffic.seen_by("server")[-1].content)
    answer = server.handlers["forecast"]
    with pytest.raises(ProtocolError, match="answered before"):
        answer({}, question)
    read = Ciphertext.read(question, "question")
    server.handlers["forecast_keys"]({}, unpack(channel.traffic.seen_by("server")[0].content))
    fresh = replace(read.label, run=new_run())
    for changed, said in (
        (replace(read, sender="stranger"), "keys came before"),
        (replace(read, label=fresh), "signed"),
        (replace(read, label=replace(fresh, step="features 0 to 2 of 01 hours")), "of 1 hours, got"),
        (replace(read, label=replace(fresh, step="features 0 to 2 of 0 hours")), "another step"),
    ):
        with pytest.raises(ProtocolError, match=said):
            answer({}, changed.payload())
    other = new_real_keys(Task(5.0, 1e-3)).public.signed(OWN["utility"])
    with pytest.raises(ProtocolError, match="agreed task"):
        server.handlers["forecast_keys"]({}, other | {"client": np.frombuffer(b"utility", np.uint8)})


def test_weights_beyond_the_task_are_refused() -> None:
    with pytest.raises(InputError, match="larger task"):
        ForecastServer("server", OWN["server"], ROSTER, [[1.0, 2.0]], [0.0], forecast_task(2, 2.5, 10.0))


@pytest.mark.extras
def test_features_beyond_the_range_never_leave_the_client() -> None:
    head = np.array([[1.0, -2.0, 0.5]])
    client = client_of(head, task_for(head, 10.0), full=True)
    with pytest.raises(InputError, match="got 1 others"):
        client.forecast([[1.0, 10.5]])
    assert client._channel.traffic.sent == []
