"""Private rounds: what is released, charged and refused when members drop out."""

import logging
from collections.abc import Callable

import numpy as np
import pytest

from unlearn.dp import SimulatedNoise
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import (
    FederatedBudget,
    FixedPoint,
    Identity,
    LocalChannel,
    Party,
    PrivateContribution,
    PrivateDescent,
    RefusedError,
    Roster,
    SharedNoise,
    SumOptions,
    descend,
    household_gradients,
    private_round,
    private_summand,
    secure_sum,
)
from unlearn.privacy.federated.sum_protocol import MASKED, UNMASK

Bits = Callable[[int], None]
Lost = Callable[[str, str, int], bool]

NAMES = ("a", "b", "c", "d")
#: One household of each member; each is longer than the clip but that of d.
VECTORS = {name: np.array([[1.0 + i, 0.0, 2.0]]) for i, name in enumerate(NAMES[:3])} | {"d": np.full((1, 3), 0.1)}

IDENTITIES = {name: Identity.new() for name in NAMES}
ROSTER = Roster({name: own.public for name, own in IDENTITIES.items()})


def nobody(task: str, member: str, before: int) -> bool:
    return False


def federation(noise: SharedNoise, rounds: int = 9, lost: Lost = nobody, full: bool = False) -> LocalChannel:
    parties = [
        Party(
            name,
            private_summand(
                name,
                IDENTITIES[name],
                ROSTER,
                {"vectors": PrivateContribution(lambda asked, name=name: VECTORS[name], noise, rounds)},
                {"open": lambda asked: (np.ones(2), None)},
            ),
        )
        for name in NAMES
    ]
    return LocalChannel(parties, lost, full)


def clipped_sum(names: tuple[str, ...], clip: float) -> np.ndarray:
    return sum(VECTORS[name][0] * min(1.0, clip / float(np.linalg.norm(VECTORS[name]))) for name in names)


def lost_at(task: str, *members: str, from_round: int = 0) -> Lost:
    return lambda asked, member, before: asked == task and member in members and before >= from_round


def test_a_round_releases_the_clipped_sum_of_who_survived_and_charges_them(bits: Bits) -> None:
    bits(0)
    noise = SharedNoise(clip=1.0, noise_multiplier=1e-4, least_members=3)
    budget = FederatedBudget(noise, 1e12, 1e-5)
    channel = federation(noise, lost=lost_at(MASKED, "b", from_round=1))
    for names in (NAMES, ("a", "c", "d")):
        total, members = private_round(channel, "vectors", {}, budget)
        assert members == names
        np.testing.assert_allclose(total, clipped_sum(names, 1.0), atol=2e-3)
    assert [one.members for one in budget.rounds] == [NAMES, ("a", "c", "d")]
    assert budget.multipliers("b") == [noise.multiplier(4)]


def test_a_round_of_too_few_shows_nothing_and_costs_nothing() -> None:
    noise = SharedNoise(clip=1.0, noise_multiplier=50.0, least_members=4)
    budget = FederatedBudget(noise, 1.0, 1e-5)
    channel = federation(noise, lost=lost_at(MASKED, "c"))
    with pytest.raises(ProtocolError, match="4 members"):
        private_round(channel, "vectors", {}, budget)
    assert budget.rounds == []
    assert not any(one.task == UNMASK for one in channel.traffic.sent)


@pytest.mark.parametrize("gone", [("b", "c"), NAMES])
def test_a_round_that_some_may_have_unmasked_is_charged_when_in_doubt(gone: tuple[str, ...]) -> None:
    noise = SharedNoise(clip=1.0, noise_multiplier=50.0, least_members=3)
    budget = FederatedBudget(noise, 1.0, 1e-5)
    channel = federation(noise, lost=lost_at(UNMASK, *gone))
    with pytest.raises(ProtocolError):
        private_round(channel, "vectors", {}, budget)
    (one,) = budget.rounds
    assert one.doubtful
    assert one.members == NAMES
    assert budget.multipliers("b") == [noise.multiplier(3)]


def test_a_member_takes_part_in_no_more_rounds_than_agreed() -> None:
    noise = SharedNoise(clip=1.0, noise_multiplier=50.0, least_members=3)
    budget = FederatedBudget(noise, 1.0, 1e-5)
    # A round that ended without a result counts for the member: others could have unmasked its vector.
    channel = federation(
        noise, rounds=2, lost=lambda task, member, before: task == MASKED and member > "b" and not before
    )
    with pytest.raises(ProtocolError):
        private_round(channel, "vectors", {}, budget)
    private_round(channel, "vectors", {}, budget)
    with pytest.raises(RefusedError, match="expected at most 2 rounds of vectors") as refused:
        private_round(channel, "vectors", {}, budget)
    assert set(refused.value.refusals) == {"a", "b"}
    # What has no noise is no part of the promise, nor counted.
    assert secure_sum(channel, "open", options=SumOptions(threshold=3)).high.tolist() == [4.0, 4.0]


def test_a_member_refuses_rounds_that_may_end_with_fewer_or_would_cut_its_noise() -> None:
    noise = SharedNoise(clip=1.0, noise_multiplier=50.0, least_members=4)
    with pytest.raises(RefusedError, match="threshold of at least 4 members, got 3"):
        secure_sum(federation(noise), "vectors", options=SumOptions(threshold=3, fixed_point=FixedPoint(0, 64)))
    with pytest.raises(RefusedError, match="private sum in 64 bits of whole numbers, got 192 with 96"):
        secure_sum(federation(noise), "vectors", options=SumOptions(threshold=4))


def test_a_spent_budget_ends_the_training_before_anyone_is_asked() -> None:
    noise = SharedNoise.for_budget(1.0, 1e-5, rounds=1, clip=1.0, least_members=3)
    budget, channel = FederatedBudget(noise, 1.0, 1e-5), federation(noise)
    # With all four the first round costs less, but not so little that the fewest could have another one.
    private_round(channel, "vectors", {}, budget)
    sent = len(channel.traffic.sent)
    with pytest.raises(InputError, match="which another round after 1 would exceed"):
        private_round(channel, "vectors", {}, budget)
    assert len(channel.traffic.sent) == sent


def test_nothing_that_was_sent_holds_a_member_s_noisy_vector(bits: Bits, monkeypatch: pytest.MonkeyPatch) -> None:
    noise, shares = SharedNoise(clip=1.0, noise_multiplier=2.0, least_members=3), []
    share = SharedNoise.share

    def recorded(self: SharedNoise, *given: object) -> np.ndarray:
        shares.append(share(self, *given))  # type: ignore[arg-type]
        return shares[-1]

    monkeypatch.setattr(SharedNoise, "share", recorded)
    channel = federation(noise, full=True)
    total, _ = private_round(channel, "vectors", {}, FederatedBudget(noise, 100.0, 1e-5))
    np.testing.assert_array_equal(noise.in_units(sum(shares)), total)
    for vector in shares:
        for written in (vector, vector.astype(np.int64)):
            assert not any(entry.tobytes() in one.content for one in channel.traffic.sent for entry in written)


def logistic(noise: SharedNoise, rounds: int, lost: Lost = nobody) -> tuple[LocalChannel, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    rows = np.hstack([np.ones((40, 1)), random.normal(size=(40, 2))])
    labels = (rows @ [0.3, 1.0, -1.0] + random.logistic(size=40) > 0).astype(float)
    parts = {name: slice(10 * i, 10 * i + 10) for i, name in enumerate(NAMES)}

    def gradients(part: slice) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
        return lambda asked: household_gradients(asked["coefficients"], rows[part], labels[part])

    parties = [
        Party(
            name,
            private_summand(name, IDENTITIES[name], ROSTER, {"g": PrivateContribution(gradients(part), noise, rounds)}),
        )
        for name, part in parts.items()
    ]
    return LocalChannel(parties, lost), rows, labels


def test_descent_with_next_to_no_noise_is_clipped_gradient_descent(bits: Bits) -> None:
    bits(3)
    noise = SharedNoise(clip=1.0, noise_multiplier=1e-5, least_members=3)
    options = PrivateDescent(rounds=6, learning_rate=1.0, clip=1.0, penalty=0.1, averaged=0.5)
    channel, rows, labels = logistic(noise, 6)
    households = dict.fromkeys(NAMES, 10)
    budget = FederatedBudget(noise, 1e15, 1e-5)
    found = descend(channel, "g", 3, households, budget, options)
    expected, steps = np.zeros(3), []
    for _ in range(6):
        own = (1 / (1 + np.exp(-rows @ expected)) - labels)[:, None] * rows
        own /= np.maximum(1.0, np.linalg.norm(own, axis=1, keepdims=True))
        expected = expected - own.mean(axis=0) - 0.1 * np.array([0.0, 1.0, 1.0]) * expected
        steps.append(expected)
    np.testing.assert_allclose(found, np.mean(steps[-3:], axis=0), atol=1e-4)
    assert len(budget.rounds) == 6


def test_descent_leaves_rounds_of_too_few_out_and_goes_on(bits: Bits, caplog: pytest.LogCaptureFixture) -> None:
    bits(3)
    noise = SharedNoise.for_budget(5.0, 1e-3, rounds=4, clip=1.0, least_members=4)
    options, households = PrivateDescent(rounds=4), dict.fromkeys(NAMES, 10)
    budget = FederatedBudget(noise, 5.0, 1e-3)
    channel, *_ = logistic(noise, 4, lambda task, member, before: task == MASKED and member == "a" and before == 1)
    with caplog.at_level(logging.WARNING):
        descend(channel, "g", 3, households, budget, options)
    assert [one.round for one in budget.rounds] == [0, 1, 2]
    assert "round 1 is left out" in caplog.text
    assert budget.spent() < 5.0
    channel, *_ = logistic(noise, 4, lost_at(MASKED, "a"))
    with pytest.raises(ProtocolError, match="a round with at least 4 members, got none in 4"):
        descend(channel, "g", 3, households, FederatedBudget(noise, 5.0, 1e-3), options)


def test_what_does_not_fit_is_refused() -> None:
    noise = SharedNoise(clip=1.0, noise_multiplier=1.0, least_members=5)
    one = PrivateContribution(lambda asked: VECTORS["a"], noise, 1)
    with pytest.raises(InputError, match="at most the 4 of the roster, got 5"):
        private_summand("a", IDENTITIES["a"], ROSTER, {"vectors": one})
    with pytest.raises(InputError, match="names that others do not have"):
        private_summand("a", IDENTITIES["a"], ROSTER, {"vectors": one}, {"vectors": lambda asked: (np.ones(1), None)})
    with pytest.raises(InputError, match="names that others do not have"):
        private_summand("a", IDENTITIES["a"], ROSTER, {})
    with pytest.raises(InputError, match="rounds: expected a whole number of at least 1"):
        PrivateContribution(lambda asked: VECTORS["a"], noise, 0)
    with pytest.raises(InputError, match="averaged: expected a share"):
        PrivateDescent(averaged=1.0)
    seeded = PrivateContribution(lambda asked: VECTORS["a"], noise, 1, SimulatedNoise(0))
    with pytest.raises(InputError, match='expected "os" for data of unknown origin'):
        seeded({})
