"""What an attacker reads of a released model, against a flip of any stored number, and attackers on planted bits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unlearn.attacks import measure_attack
from unlearn.forecasters import Forecaster
from unlearn.grid import GridCase, OperatingCost
from unlearn.studies.tuning.audit_bits import Released, bits_differ, low_bit_scores, replay_scores
from unlearn.unlearning.tuning import Scale, Tuning


@pytest.fixture(scope="module")
def tuned(linear: Forecaster) -> Forecaster:
    said = {"method": {"name": "scale"}, "parameters": {"k": 1.1}}
    return linear.with_tuned(1.1 * linear.head, None, said)


def copied(model: Forecaster, **buffers: torch.Tensor) -> Forecaster:
    other = model.with_theta(model.theta)
    other.tuned, other.card = model.tuned, model.card
    for name, value in buffers.items():
        setattr(other, name, value)
    return other


def flipped(value: torch.Tensor) -> torch.Tensor:
    """The last bit of the last number is another one."""
    other = value.clone()
    other.reshape(-1)[-1:].view(torch.int64).bitwise_xor_(1)
    return other


def test_all_parameters_and_sums_are_read(tuned: Forecaster) -> None:
    found = Released.of(tuned)
    assert tuned.statistics is not None
    sums = tuned.statistics.to_tensors()
    count = 2 * tuned.head.numel() + sum(value.numel() for value in sums.values())
    assert found.parameters.shape == (count,)
    assert found.others.shape == (tuned.weights.numel() + 1,)
    np.testing.assert_array_equal(found.head, tuned.tuned.numpy())
    np.testing.assert_array_equal(Released.of(tuned.untuned()).head, tuned.head.numpy())


@pytest.mark.parametrize("name", ["head", "tuned", "weights"])
def test_one_bit_of_a_number_shows_as_one_number(tuned: Forecaster, name: str) -> None:
    found = Released.of(tuned)
    other = Released.of(copied(tuned, **{name: flipped(getattr(tuned, name))}))
    assert bits_differ(found, other) == pytest.approx(1 / len(found.words), rel=1e-12)
    assert bits_differ(found, Released.of(copied(tuned))) == 0


def test_sums_masks_and_the_card_are_read(tuned: Forecaster, cnn: Forecaster) -> None:
    found = Released.of(tuned)
    sums = copied(tuned)
    assert sums.statistics is not None
    (group,) = sums.statistics.groups
    sums.statistics = replace(sums.statistics, groups=(replace(group, rounding=flipped(group.rounding)),))
    forgotten = tuned.forgotten.clone()
    forgotten[3] = True
    card = copied(tuned)
    card.card = replace(card.card, tuned={**card.card.tuned, "parameters": {"k": np.nextafter(1.1, 2)}})
    for other in (sums, copied(tuned, forgotten=forgotten), card):
        assert bits_differ(found, Released.of(other)) == pytest.approx(1 / len(found.words), rel=1e-12)
    log = copied(tuned)
    log.card = replace(log.card, forgotten=[{"rows": 3}])
    assert bits_differ(found, Released.of(log)) == 0
    before = Released.of(cnn)
    with torch.no_grad():
        parameter = next(cnn.parameters())
        kept = parameter.clone()
        parameter.copy_(flipped(parameter))
        assert bits_differ(before, Released.of(cnn)) > 0
        parameter.copy_(kept)
    assert bits_differ(before, Released.of(cnn)) == 0


def test_what_the_grid_of_a_recipe_has_priced_is_read(tuned: Forecaster, grid: GridCase) -> None:
    costs = OperatingCost(grid), OperatingCost(grid)
    costs[1](np.full((2, 14), 0.3), np.full((2, 14), 0.2))
    models = []
    for cost in costs:
        models.append(copied(tuned))
        models[-1].recipe = Tuning("cost", Scale(), cost, 0)
    found = [Released.of(model) for model in models]
    assert bits_differ(*found) == pytest.approx(1 / len(found[0].words), rel=1e-12)


def drawn(random: np.random.Generator, planted: int | None = None) -> Released:
    """Random words; `planted` is the value of each word's third lowest bit."""
    words = random.integers(0, 2**63, size=60, dtype=np.uint64)
    if planted is not None:
        words = (words & ~np.uint64(4)) | np.uint64(4 * planted)
    return Released(np.zeros((2, 3)), words, random.integers(0, 2**63, size=5, dtype=np.uint64))


def test_repeating_both_histories_counts_equal_numbers() -> None:
    random = np.random.default_rng(0)
    one, other = drawn(random), drawn(random)
    third = Released(one.head, np.concatenate([one.parameters[:20], other.parameters[20:]]), drawn(random).others)
    models = [one, other, third]
    found = replay_scores(models, [one] * 3, [other] * 3)
    np.testing.assert_array_equal(found, [65.0, -65.0, 20.0 - 40.0])


def test_a_planted_bit_is_learnt_and_random_ones_are_not() -> None:
    random = np.random.default_rng(1)
    planted = [[drawn(random, bit) for _ in range(40)] for bit in (1, 0)]
    members, others = low_bit_scores(*planted, 3, 0)
    assert members.min() > others.max()
    members, others = low_bit_scores(*planted, 2, 0)  # does not reach it
    auc = measure_attack(members, others, unit="model", fprs=()).auc
    assert auc.value == pytest.approx(0.5, abs=0.15)


def test_low_bit_scores_are_a_ridge_regression() -> None:
    random = np.random.default_rng(2)
    sides = [[drawn(random) for _ in range(6)] for _ in range(2)]
    members, others = low_bit_scores(sides[0], sides[1], 5, 7)
    asked = np.random.default_rng(7).permutation(6) < 3

    def features(models: list[Released]) -> np.ndarray:
        return np.stack([((m.parameters[:, None] >> np.arange(5, dtype=np.uint64)) & 1).reshape(-1) for m in models])

    known = np.concatenate([features(side)[~asked] for side in sides]).astype(float)
    label = np.repeat([1.0, -1.0], 3)
    middle = known.mean(axis=0)
    ridge = 0.1 * np.square(known).sum(axis=1).mean()
    centred = known - middle
    slope = np.linalg.solve(centred.T @ centred + ridge * np.eye(centred.shape[1]), centred.T @ label)
    for side, found in zip(sides, (members, others), strict=True):
        np.testing.assert_allclose(found[asked], ((features(side) - middle) @ slope)[asked], atol=1e-10)


def test_models_with_the_same_bits_tie() -> None:
    random = np.random.default_rng(3)
    models = [drawn(random) for _ in range(17)]
    members, others = low_bit_scores(models, list(models), 8, 0)
    np.testing.assert_array_equal(members, others)
