"""Networks trained together against the one training loop, one by one; rows of weight 0 against rows left out."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import stack_module_state

from unlearn.errors import InputError, UnlearnError
from unlearn.forecasters import TrainingOptions, train_ensemble, train_network
from unlearn.forecasters.extractors import CnnExtractor

OPTIONS = TrainingOptions(epochs=6, batch_size=7, learning_rate=3e-3, patience=2, validation_share=0.2)
N_ROWS, N_WATCHED = 50, 10


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(N_ROWS, 4, 5, generator=random, dtype=torch.float64)
    targets = torch.randn(N_ROWS, 3, generator=random, dtype=torch.float64)
    return inputs, targets


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(CnnExtractor(4, 5), nn.Linear(64, 3)).double()


def masks(n_models: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    kept = (torch.rand(n_models, N_ROWS - N_WATCHED, generator=random) < 0.6).double()
    kept[0] = 1.0
    return kept


def trained(seeds, weights, rows, options=OPTIONS, keep="best"):
    states, _ = stack_module_state([network(seed) for seed in seeds])
    return train_ensemble(network(99), states, *rows, weights, options, seeds, keep)


def test_an_ensemble_equals_the_one_training_loop_network_by_network(rows):
    seeds, weights = [3, 3, 4, 5], masks(4)
    together = trained(seeds, weights, rows)
    for m, seed in enumerate(seeds):
        alone = network(seed)
        history = train_network(alone, *rows, OPTIONS, seed, weights[m])
        assert together.best_epoch[m] == history["best_epoch"]
        assert float(together.watched_loss[m]) == pytest.approx(min(history["validation"]), rel=1e-12)
        for name, value in alone.state_dict().items():
            np.testing.assert_allclose(together.states[name][m], value, rtol=0, atol=1e-12)


def test_networks_stop_each_in_its_own_epoch(rows):
    seeds, epochs = list(range(12)), set()
    together = trained(seeds, masks(12), rows)
    for m, (seed, weights) in enumerate(zip(seeds, masks(12), strict=True)):
        alone = network(seed)
        epochs.add(len(train_network(alone, *rows, OPTIONS, seed, weights)["train"]))
        np.testing.assert_allclose(together.states["1.weight"][m], alone[1].weight.detach(), rtol=0, atol=1e-12)
    assert len(epochs) > 1, "the test needs networks that stop in different epochs"


def test_weights_of_one_are_the_plain_loop_and_rows_of_weight_0_have_no_say(rows):
    plain, weighted = network(0), network(0)
    train_network(plain, *rows, OPTIONS, 0)
    train_network(weighted, *rows, OPTIONS, 0, torch.ones(N_ROWS - N_WATCHED, dtype=torch.float64))
    for one, other in zip(plain.parameters(), weighted.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    inputs, targets = rows
    weights = masks(2)[1]
    poisoned = targets.clone()
    poisoned[:-N_WATCHED][weights == 0] = 1e3
    clean = trained([0], weights[None], (inputs, targets))
    after = trained([0], weights[None], (inputs, poisoned))
    for name, value in clean.states.items():
        assert torch.equal(value, after.states[name]), name


def test_a_row_left_out_leaves_the_mean_over_the_rest_of_its_batch(rows):
    """One full batch without some rows is a step on the other rows alone."""
    inputs, targets = rows
    options = TrainingOptions(epochs=3, batch_size=N_ROWS, learning_rate=1e-2, validation_share=0.2)
    weights = masks(2)[1]
    with_zeros, without = network(0), network(0)
    train_network(with_zeros, inputs, targets, options, 0, weights)
    kept = torch.cat([weights == 1, torch.ones(N_WATCHED, dtype=torch.bool)])
    n_kept = int(kept.sum())
    share = TrainingOptions(
        epochs=3, batch_size=N_ROWS, learning_rate=1e-2, validation_share=(N_WATCHED + 0.5) / n_kept
    )
    train_network(without, inputs[kept], targets[kept], share, 0)
    for one, other in zip(with_zeros.parameters(), without.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_last_state_is_kept_if_asked_for(rows):
    options = TrainingOptions(epochs=6, batch_size=7, learning_rate=3e-3, patience=100, validation_share=0.2)
    last = trained([3], masks(1), rows, options, "last")
    assert last.best_epoch[0] == 5
    best = trained([3], masks(1), rows, options)
    assert best.best_epoch[0] < 5
    assert not torch.equal(last.states["1.weight"], best.states["1.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [1]}, "as many states as seeds"),
        ({"weights": torch.ones(2, N_ROWS)}, r"training weights: expected .* in shape \(2, 40\)"),
        ({"weights": -torch.ones(2, 40)}, "lowest -1"),
        ({"keep": "first"}, "keep: expected one of best, last"),
        (
            {"options": TrainingOptions(learning_rate=1e200, epochs=2, validation_share=0.2)},
            "diverged in epoch 0: lower the learning rate",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(rows, change, message):
    states, _ = stack_module_state([network(1), network(2)])
    given = {"weights": torch.ones(2, 40), "options": OPTIONS, "seeds": [1, 2], "keep": "best"} | change
    with pytest.raises(UnlearnError, match=message):
        train_ensemble(network(0), states, *rows, **given)


def test_a_network_with_buffers_is_refused(rows):
    normed = nn.BatchNorm1d(3)
    states, _ = stack_module_state([normed])
    with pytest.raises(InputError, match="without buffers"):
        train_ensemble(normed, states, *rows, torch.ones(1, 40), OPTIONS, [0])
