import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.privacy.federated.utilities import NAMES, distance, federation, loads, pooled, stacked
from unlearn.data import LoadDataset, StandardScaler, distinct_columns
from unlearn.errors import InputError, MismatchError, ProtocolError, SingularHessianError
from unlearn.forecasters import Linear
from unlearn.forecasters.head import HeadObjective
from unlearn.forecasters.specs import Mixer
from unlearn.privacy.federated import (
    FederatedModel,
    LinearDesign,
    LocalChannel,
    NetworkDesign,
    Party,
    Utility,
    fit_federated,
    pack,
    refit_federated,
    unpack,
    update_federated,
    withdraw,
)
from unlearn.privacy.federated.designs import design_to_payload
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.messages import as_bytes

SAME = 1e-9


@pytest.fixture(scope="module")
def network() -> NetworkDesign:
    """An extractor that saw no data at all, and the scaler of one utility's simulated relatives."""
    data = loads(0)
    torch.manual_seed(1)
    extractor = Mixer.extractor(data.n_loads, len(data.feature_names))
    features = torch.from_numpy(data.features)
    scale = torch.cat([torch.ones((2, 4)), features[:, :, 4:].std(dim=0)], dim=1).double()
    return NetworkDesign("mixer", extractor, StandardScaler(torch.zeros((2, 6), dtype=torch.float64), scale))


def data_of(members: dict[str, Utility]) -> list[LoadDataset]:
    return [own.dataset for own in members.values()]


@pytest.mark.parametrize("how", ["lstsq", "qr"])
def test_one_round_gives_the_head_of_pooled_rows(how: str) -> None:
    members, channel = federation()
    model = fit_federated(channel)
    assert model.members == NAMES
    assert distance(model.head, pooled(data_of(members), model.design, how)) < SAME
    assert model.statistics.total == sum(len(own.split.train) for own in data_of(members))


def test_columns_are_those_of_the_linear_forecaster() -> None:
    members, channel = federation()
    model = fit_federated(channel)
    features = np.concatenate([own.features[own.split.train] for own in data_of(members)])
    assert isinstance(model.design, LinearDesign)
    assert model.design.pairs == list(distinct_columns(features))
    # With one member's rows counted twice, it is the library's own forecaster of that member.
    twice = [loads(0), loads(0)]
    found = fit_federated(federation(twice, NAMES[:2])[1]).as_forecaster(loads(0))
    alone = Linear().fit(loads(0))
    test = loads(0).features[loads(0).split.test]
    np.testing.assert_allclose(found.forecast(test), alone.forecast(test), rtol=1e-9)


def test_a_frozen_extractor_gives_the_analytic_head_of_pooled_rows(network: NetworkDesign) -> None:
    members, channel = federation()
    model = fit_federated(channel, network)
    rows, target = stacked(data_of(members), network)
    expected = HeadObjective(rows, target).fit().reshape(model.head.shape).numpy()
    # A random extractor's columns nearly depend on each other: forecasts are compared, which that leaves alone.
    np.testing.assert_allclose(rows.numpy() @ model.head.T, rows.numpy() @ expected.T, rtol=1e-8)
    assert model.design.names(model.layout)[-1] == "intercept"


@pytest.mark.parametrize("kind", ["linear", "network"])
def test_who_left_was_never_there(kind: str, network: NetworkDesign) -> None:
    members, channel = federation()
    start = fit_federated(channel, network if kind == "network" else "linear")
    members["south"].leave()
    left = withdraw(channel, start, "south")
    others = [name for name in NAMES if name != "south"]
    never = fit_federated(federation([loads(0), loads(2), loads(3)], others)[1], start.design)
    assert left.members == tuple(others)
    assert left.rounds == 2
    assert distance(left.head, never.head) < SAME
    if kind == "linear":
        assert distance(left.head, pooled([loads(0), loads(2), loads(3)], start.design)) < SAME


def test_a_customer_is_forgotten_also_where_it_stands_as_a_lag() -> None:
    members, channel = federation()
    start = fit_federated(channel)
    customer = loads(1).customer_ids[2]
    members["south"].forget([customer])
    left = update_federated(channel, start)
    without = loads(1).without([customer])
    expected = [loads(0), without, loads(2), loads(3)]
    assert not np.array_equal(without.features, loads(1).features)
    assert distance(left.head, pooled(expected, start.design)) < SAME
    assert distance(left.head, fit_federated(federation(expected)[1]).head) < SAME
    assert distance(left.head, start.head) > 1e-3
    assert any("load scale" in said for said in members["south"].limitations)


def test_the_load_scale_is_fitted_again_on_request() -> None:
    members, channel = federation()
    start = fit_federated(channel)
    customer = loads(1).customer_ids[0]
    members["south"].forget([customer], rescale=True)
    left = update_federated(channel, start)
    without = loads(1).without([customer]).scaled_to([20.0, 30.0])
    assert distance(left.head, pooled([loads(0), without, loads(2), loads(3)], start.design)) < SAME
    assert members["south"].limitations == ()


@pytest.mark.parametrize("order", ["one by one", "the other way", "at once"])
def test_any_sequence_is_joint_removal(order: str) -> None:
    members, channel = federation()
    first, second = loads(0).customer_ids[:2]
    other = loads(2).customer_ids[4]

    def forget(name: str, *customers: str) -> Callable[[], None]:
        return lambda: members[name].forget(customers)

    steps = [forget("north", first), forget("west", other), forget("north", second), members["east"].leave]
    if order == "the other way":
        steps.reverse()
    model = fit_federated(channel)
    for step in steps:
        step()
        if order != "at once":
            model = update_federated(channel, model, leaving=["east"] if step == members["east"].leave else [])
    if order == "at once":
        model = update_federated(channel, model, leaving=["east"])
    expected = [loads(0).without([first, second]), loads(1), loads(2).without([other])]
    assert model.members == NAMES[:3]
    assert distance(model.head, pooled(expected, model.design)) < SAME


def test_nothing_changed_changes_no_bit() -> None:
    _, channel = federation()
    start = fit_federated(channel)
    again = update_federated(channel, start)
    assert torch.equal(again.statistics.moments, start.statistics.moments)
    np.testing.assert_array_equal(again.head, start.head)


def test_few_changes_wait_for_more() -> None:
    members, channel = federation()
    start = fit_federated(channel)
    members["north"].forget(loads(0).customer_ids[:1])
    sums = [one.task for one in channel.traffic.sent].count("sum/masked")
    assert update_federated(channel, start, least_changes=2) is start
    members["west"].forget(loads(2).customer_ids[:1])
    left = update_federated(channel, start, least_changes=2)
    assert [one.task for one in channel.traffic.sent].count("sum/masked") == sums + 3 * 2 * len(NAMES)
    assert distance(left.head, pooled(data_of(members), start.design)) < SAME


def test_who_vanishes_adds_its_change_in_a_later_round() -> None:
    gone: set[str] = set()
    members, channel = federation(lost=lambda task, member, before: member in gone and task == "sum/masked")
    start = fit_federated(channel)
    members["north"].forget(loads(0).customer_ids[:1])
    members["south"].forget(loads(1).customer_ids[:1])
    gone.add("north")
    partly = update_federated(channel, start)
    now = data_of(members)
    assert distance(partly.head, pooled([loads(0), *now[1:]], start.design)) < SAME
    gone.clear()
    assert distance(update_federated(channel, partly).head, pooled(now, start.design)) < SAME


@pytest.mark.parametrize("task", ["sum/keys", "sum/masked", "sum/unmask"])
def test_a_round_that_failed_changes_nothing(task: str) -> None:
    failing = False
    members, channel = federation(lost=lambda own, member, before: failing and own == task and member != "east")
    start = fit_federated(channel)
    members["north"].forget(loads(0).customer_ids[:1])
    failing = True
    with pytest.raises(ProtocolError):
        update_federated(channel, start)
    failing = False
    left = update_federated(channel, start)
    assert distance(left.head, pooled(data_of(members), start.design)) < SAME


def test_a_lost_confirmation_is_made_up_by_the_next_round() -> None:
    members, channel = federation(lost=lambda task, member, before: task == "confirm")
    model = fit_federated(channel)
    for place, name in enumerate(NAMES[:2]):
        members[name].forget(loads(place).customer_ids[:1])
        model = update_federated(channel, model)
    assert distance(model.head, pooled(data_of(members), model.design)) < SAME


def test_who_vanished_before_it_could_subtract_is_summed_without() -> None:
    gone: set[str] = set()
    members, channel = federation(lost=lambda task, member, before: member in gone)
    start = fit_federated(channel)
    members["west"].leave()
    gone.add("west")
    with pytest.raises(ProtocolError, match="west vanished before"):
        withdraw(channel, start, "west")
    left = refit_federated(channel, start, without=["west"])
    assert left.members == ("north", "south", "east")
    assert distance(left.head, pooled([loads(0), loads(1), loads(3)], start.design)) < SAME
    members["north"].forget(loads(0).customer_ids[:1])
    later = update_federated(channel, left)
    assert distance(later.head, pooled([members["north"].dataset, loads(1), loads(3)], start.design)) < SAME


def test_nothing_is_kept_of_who_left_nor_of_what_was_forgotten() -> None:
    keys = [Identity.new() for _ in NAMES]
    roster = Roster({name: key.public for name, key in zip(NAMES, keys, strict=True)})
    members = [Utility(name, loads(i)) for i, name in enumerate(NAMES)]
    parties = [one.party(key, roster) for one, key in zip(members, keys, strict=True)]
    channel = LocalChannel(parties)
    start = fit_federated(channel)
    members[0].forget(loads(0).customer_ids[:1])
    members[1].leave()
    before = parties[0].kept["exact.confirmed.vector"].copy()
    withdraw(channel, start, "south")
    assert not any(name.startswith("exact.") for name in parties[1].kept)
    assert not any(name.startswith("exact.pending") for name in parties[0].kept)
    assert not np.array_equal(parties[0].kept["exact.confirmed.vector"], before)


class Rebuilt(Party):
    """A member that is built anew for each question, as across processes; what it keeps travels as bytes."""

    def answer(self, task: str, asked: dict) -> dict:
        data, key, roster = STORED[self.name]
        party = Utility(self.name, data, leaving=self.name in LEAVING).party(key, roster)
        party.kept = unpack(pack(self.kept))
        answer = party.answer(task, asked)
        self.kept = unpack(pack(party.kept))
        return answer


STORED: dict[str, tuple] = {}
LEAVING: set[str] = set()


def test_members_that_are_built_anew_for_each_question_give_the_same() -> None:
    keys = [Identity.new() for _ in NAMES]
    roster = Roster({name: key.public for name, key in zip(NAMES, keys, strict=True)})
    STORED.update({name: (loads(i), keys[i], roster) for i, name in enumerate(NAMES)})
    channel = LocalChannel([Rebuilt(name, {}) for name in NAMES])
    model = fit_federated(channel)
    kept = FederatedModel.from_payload(unpack(pack(model.to_payload())))
    STORED["north"] = (loads(0).without(loads(0).customer_ids[:1]), *STORED["north"][1:])
    LEAVING.add("west")
    left = withdraw(channel, kept, "west")
    LEAVING.clear()
    expected = [STORED["north"][0], loads(1), loads(3)]
    assert distance(left.head, pooled(expected, left.design)) < SAME


def test_a_model_is_taken_back_from_its_arrays(network: NetworkDesign) -> None:
    _, channel = federation()
    for architecture in ("linear", network):
        model = fit_federated(channel, architecture)
        back = FederatedModel.from_payload(unpack(pack(model.to_payload())))
        features = loads(0).features[:5]
        np.testing.assert_array_equal(back.forecast(features), model.forecast(features))
        assert (back.members, back.rounds, dict(back.how)) == (model.members, model.rounds, dict(model.how))
        assert torch.equal(back.statistics.moments, model.statistics.moments)
    payload = model.to_payload()
    del payload["head"]
    with pytest.raises(ProtocolError, match="to_payload"):
        FederatedModel.from_payload(payload)


def test_it_forecasts_for_each_member_and_unlearns_elsewhere() -> None:
    _, channel = federation()
    model = fit_federated(channel)
    forecaster = model.as_forecaster(loads(2))
    test = loads(2).features[loads(2).split.test]
    np.testing.assert_allclose(forecaster.forecast(test), model.forecast(test), rtol=1e-12)
    assert forecaster.column_names()[-1] == "intercept"
    with pytest.raises(InputError, match="update_federated"):
        forecaster.objective(loads(2))
    with pytest.raises(InputError, match="features"):
        model.forecast(test[:, :1])


def test_a_member_may_have_fewer_rows_than_columns() -> None:
    short = replace(loads(3), split=replace(loads(3).split, train=np.arange(3)))
    data = [loads(0), loads(1), short]
    model = fit_federated(federation(data, NAMES[:3])[1])
    assert distance(model.head, pooled(data, model.design)) < SAME


def test_rows_of_all_that_do_not_determine_the_head_are_refused() -> None:
    data = [replace(loads(i), split=replace(loads(i).split, train=np.arange(2))) for i in range(2)]
    with pytest.raises(SingularHessianError, match=r"bus_\d:"):
        fit_federated(federation(data, NAMES[:2])[1])


def test_columns_that_repeat_at_one_member_alone_are_kept() -> None:
    random = np.random.default_rng(0)

    def with_weather(place: int, shared: bool) -> LoadDataset:
        own = loads(place)
        weather = random.normal(10, 3, (len(own.timestamps), 2, 1))
        weather = np.repeat(weather[:, :1], 2, axis=1) if shared else weather
        plain = {one: getattr(own, one) for one in LoadDataset.__dataclass_fields__ if one != "declared_lags"}
        features = np.concatenate([own.features[:, :, :4], weather, 2 * weather + 1], axis=2)
        names = (*own.feature_names[:4], "temperature", "fahrenheit")
        return LoadDataset(**plain | {"features": features, "feature_names": names})

    data = [with_weather(0, True), with_weather(1, True), with_weather(2, False)]
    members, channel = federation(data, NAMES[:3])
    model = fit_federated(channel)
    features = np.concatenate([own.features[own.split.train] for own in data])
    columns = [pair for pair, used in zip(model.design.pairs, model.head[:, :-1].any(axis=0), strict=True) if used]
    assert columns == list(distinct_columns(features))
    assert (1, 4) in columns
    members["west"].leave()
    # What is left repeats everywhere: the head has one column fewer, as if the third had never been there.
    with pytest.raises(InputError, match="members that stay"):
        withdraw(channel, model, "west", "south")
    left = withdraw(channel, model, "west")
    never = fit_federated(federation(data[:2], NAMES[:2])[1])
    features = data[0].features[:7]
    np.testing.assert_allclose(left.forecast(features), never.forecast(features), rtol=1e-9)
    assert not left.head[:, model.design.pairs.index((1, 4))].any()


def renamed(data: LoadDataset, **changes: object) -> LoadDataset:
    plain = {one: getattr(data, one) for one in LoadDataset.__dataclass_fields__}
    return LoadDataset(**plain | changes)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: renamed(loads(1), load_names=("bus_1", "bus_3")), "load_names, bus_1, bus_2, got bus_1, bus_3"),
        (lambda: renamed(loads(1), base_mva=50.0), r"base_mva, 100\.0, got 50\.0"),
        (lambda: renamed(loads(1), declared_lags=loads(1).declared_lags[:1]), "lags"),
        (lambda: loads(1).with_lags([48]), "feature_names"),
    ],
)
def test_another_layout_is_refused_by_what_differs(other: Callable[[], LoadDataset], said: str) -> None:
    _, channel = federation([loads(0), other(), loads(2)], NAMES[:3])
    with pytest.raises(MismatchError, match=f"south: expected the federation's {said}"):
        fit_federated(channel)


def test_a_member_refuses_what_does_not_fit_its_data() -> None:
    members, channel = federation()
    model = fit_federated(channel)
    members["south"].dataset = renamed(loads(1), base_mva=50.0)
    with pytest.raises(ProtocolError, match=r"south.*base_mva"):
        update_federated(channel, model)


def test_nobody_is_taken_out_who_does_not_leave() -> None:
    _, channel = federation()
    model = fit_federated(channel)
    with pytest.raises(ProtocolError, match=r"south.*utility\.leave\(\)"):
        withdraw(channel, model, "south")
    assert distance(update_federated(channel, model).head, model.head) < SAME


def test_sums_that_a_member_did_not_add_are_not_built_on() -> None:
    members, channel = federation()
    model = fit_federated(channel)
    members["north"].forget(loads(0).customer_ids[:1])
    update_federated(channel, model)
    members["north"].forget(members["north"].dataset.customer_ids[:1])
    with pytest.raises(ProtocolError, match="refit_federated"):
        update_federated(channel, model)


@pytest.mark.parametrize("missing", ["layout", "accepted", "leaving", "tag"])
def test_a_message_without_what_it_needs_is_refused(missing: str) -> None:
    members, channel = federation()
    model = fit_federated(channel)
    asked = {"accepted": dict(model.accepted), "leaving": [], "tag": "t"}
    texts = {name: as_bytes(own if name == "tag" else json.dumps(own)) for name, own in asked.items()}
    message = {**model.layout.to_payload(), **design_to_payload(model.design), **texts}
    del message[missing]
    with pytest.raises(ProtocolError, match="same version"):
        members["north"]._change(message)


def test_bounds_of_errors_do_not_grow_with_every_change(network: NetworkDesign) -> None:
    members, channel = federation()
    start = model = fit_federated(channel, network)
    for customer in loads(0).customer_ids[:3]:
        members["north"].forget([customer])
        model = update_federated(channel, model)
    never = fit_federated(federation(data_of(members))[1], network)
    torch.testing.assert_close(model.statistics.rounding, never.statistics.rounding, rtol=1e-9, atol=1e-20)
    assert model.how["error_estimate"] < 2 * start.how["error_estimate"]


@pytest.mark.parametrize("fault", ["nan", "length"])
def test_other_sums_are_refused(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    members, channel = federation()

    def wrong(asked: dict) -> tuple[np.ndarray, None]:
        return (np.full(4, np.nan) if fault == "nan" else np.ones(4)), None

    keys = {name: Identity.new() for name in NAMES}
    roster = Roster({name: key.public for name, key in keys.items()})
    monkeypatch.setattr(members["south"], "_statistics", wrong)
    channel = LocalChannel([one.party(keys[name], roster) for name, one in members.items()])
    with pytest.raises(ProtocolError, match="south"):
        fit_federated(channel)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda channel, model: withdraw(channel, model, "nowhere"), "got nowhere"),
        (lambda channel, model: withdraw(channel, model), "a member that leaves"),
        (lambda channel, model: withdraw(channel, model, *NAMES), "at least 2 members that stay"),
        (lambda channel, model: withdraw(channel, model, *NAMES[:3]), "at least 2 members that stay"),
        (lambda channel, model: update_federated(channel, model, least_changes=0), "least_changes"),
        (lambda channel, model: refit_federated(channel, model, without=["nowhere"]), "got nowhere"),
        (lambda channel, model: fit_federated(channel, members=["north"]), "at least 2"),
        (lambda channel, model: fit_federated(channel, members=["north", "nowhere"]), "nowhere"),
        (lambda channel, model: fit_federated(channel, "mixer"), "got 'mixer'"),
    ],
)
def test_what_cannot_be_is_refused_before_work_starts(ask: Callable, said: str) -> None:
    _, channel = federation()
    model = fit_federated(channel)
    sent = len(channel.traffic.sent)
    with pytest.raises(InputError, match=said):
        ask(channel, model)
    assert not any(one.task.startswith("sum/") for one in channel.traffic.sent[sent:])


def test_columns_that_no_longer_repeat_are_not_left_out_silently() -> None:
    members, channel = federation()
    model = fit_federated(channel)
    own = loads(1)
    features = own.features.copy()
    features[:, 1, 0] += np.arange(len(features))
    members["south"].dataset = renamed(own, features=features)
    with pytest.raises(ProtocolError, match="refit_federated"):
        update_federated(channel, model)
    assert refit_federated(channel, model).design.n_columns == model.design.n_columns + 1


def test_one_that_vanishes_at_the_start_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    _, channel = federation(lost=lambda task, member, before: member == "east" and task == "layout")
    model = fit_federated(channel)
    assert model.members == NAMES[:3]
    assert "east" in caplog.text


def test_a_federation_needs_answers() -> None:
    _, channel = federation(lost=lambda task, member, before: member != "east")
    with pytest.raises(ProtocolError, match="at least 2 members"):
        fit_federated(channel)


def test_data_without_customers_cannot_forget_any() -> None:
    with pytest.raises(InputError, match="customer_loads"):
        Utility("north", renamed(loads(0))).forget(["someone"])
    unscaled = replace(loads(0), fitted=())
    with pytest.raises(InputError, match="rescale"):
        Utility("north", unscaled).forget(loads(0).customer_ids[:1], rescale=True)
