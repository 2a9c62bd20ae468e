"""Networks: who sees which rows, repeatable to the bit, an analytic head, early stopping."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import unlearn
from unlearn.errors import InputError, UnlearnError
from unlearn.forecasters import TrainingOptions, train_network

QUICK = TrainingOptions(epochs=2, learning_rate=1e-3)


@pytest.fixture(scope="module")
def small():
    return unlearn.load_dataset("synthetic", n_hours=700, n_loads=4)


@pytest.mark.parametrize("architecture", ["cnn", "mixer"])
def test_one_seed_repeats_to_the_bit_and_another_differs(small, architecture):
    one, same, other = (unlearn.fit_network(small, architecture, QUICK, seed=seed) for seed in (1, 1, 2))
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert one.card.history == same.card.history
    assert not torch.equal(one.head, other.head)


def test_training_leaves_the_callers_random_numbers_alone(small):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    unlearn.fit_network(small, "cnn", QUICK, seed=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["cnn", "mixer"])
def test_the_head_is_least_squares_on_extracted_features(request, dataset, name):
    model = request.getfixturevalue(name)
    rows = dataset.split.sensitive
    design = model.design_of(dataset, rows).numpy()
    assert design.shape == (len(rows), 65)
    expected = np.linalg.lstsq(design, dataset.load_pu[rows], rcond=None)[0]
    np.testing.assert_allclose(design @ model.head.numpy().T, design @ expected, atol=1e-10)


def test_only_core_rows_reach_the_extractor_and_its_scaler(small):
    rows = np.setdiff1d(np.arange(len(small.timestamps)), small.split.core)
    features, load = small.features.copy(), small.load_mw.copy()
    features[rows, :, 4:] *= 1.5
    load[rows] *= np.linspace(1, 2, 4)
    one = unlearn.fit_network(small, "cnn", QUICK)
    other = unlearn.fit_network(replace(small, features=features, load_mw=load), "cnn", QUICK)
    mine, theirs = one.state_dict(), other.state_dict()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]) == (name != "head"), name


def test_core_rows_do_reach_the_extractor(small):
    load = small.load_mw.copy()
    load[small.split.core] = load[small.split.core][::-1]
    one = unlearn.fit_network(small, "cnn", QUICK)
    other = unlearn.fit_network(replace(small, load_mw=load), "cnn", QUICK)
    name = "extractor.linear.weight"
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])


def test_the_calendar_is_not_scaled(cnn):
    assert (cnn.scaler.mean[:, :4] == 0).all()
    assert (cnn.scaler.std[:, :4] == 1).all()


def test_an_unknown_architecture_lists_the_known_ones(small):
    with pytest.raises(InputError, match="architecture: expected one of cnn, mixer; got 'rnn'"):
        unlearn.fit_network(small, "rnn")


def test_a_diverging_learning_rate_raises(small):
    with pytest.raises(UnlearnError, match="training diverged in epoch 0: lower the learning rate"):
        unlearn.fit_network(small, "cnn", TrainingOptions(epochs=2, learning_rate=1e30))


class Recorder(nn.Module):
    """A line through 0 that notes what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))
        self.trained: list[torch.Tensor] = []
        self.watched: list[torch.Tensor] = []

    def forward(self, x):
        (self.trained if torch.is_grad_enabled() else self.watched).append(x.clone())
        return self.slope * x


def test_early_stopping_watches_the_last_tenth_and_trains_on_the_rest():
    inputs = torch.arange(1.0, 41.0)[:, None]
    network = Recorder()
    train_network(network, inputs, inputs, TrainingOptions(epochs=1, batch_size=7), seed=0)
    assert torch.cat(network.watched).squeeze().tolist() == [37, 38, 39, 40]
    assert sorted(torch.cat(network.trained).squeeze().tolist()) == list(range(1, 37))


def test_the_best_state_is_restored_and_patience_ends_training():
    # Training rows pull the slope to 1, the watched rows want 0.5: it improves, then gets worse.
    inputs = torch.ones(100, 1)
    targets = torch.ones(100, 1)
    targets[90:] = 0.5
    network = Recorder()
    options = TrainingOptions(epochs=400, batch_size=90, learning_rate=0.05, patience=5)
    history = train_network(network, inputs, targets, options, seed=0)
    best = int(np.argmin(history["validation"]))
    assert 0 < best < len(history["validation"]) - 1
    assert history["best_epoch"] == best
    assert history["stopped_early"]
    assert len(history["validation"]) == best + 5 + 1
    assert (float(network.slope) - 0.5) ** 2 == pytest.approx(history["validation"][best], rel=1e-5)


def test_a_validation_loss_that_overflows_is_divergence():
    inputs, targets = torch.ones(20, 1), torch.ones(20, 1)
    inputs[-2:] = 1e30
    network = nn.Linear(1, 1)
    with pytest.raises(UnlearnError, match="training diverged"):
        train_network(network, inputs, targets, TrainingOptions(epochs=1), seed=0)


def test_too_few_rows_to_train_on_are_refused():
    with pytest.raises(InputError, match="expected at least 2 rows"):
        train_network(nn.Linear(1, 1), torch.ones(1, 1), torch.ones(1, 1), TrainingOptions(epochs=1), seed=0)


def test_the_learning_rate_follows_a_cosine_to_zero():
    inputs = torch.ones(20, 1)
    network = nn.Linear(1, 1)
    slopes = []
    network.register_forward_hook(lambda *_: slopes.append(float(network.weight.detach())))
    train_network(network, inputs, 100 * inputs, TrainingOptions(epochs=10, batch_size=18, learning_rate=0.1), seed=0)
    steps = np.diff(slopes[::2])  # one training pass and one look at the watched rows per epoch
    # Far from the target Adam's step is the learning rate itself.
    np.testing.assert_allclose(steps, 0.05 * (1 + np.cos(np.pi * np.arange(9) / 10)), rtol=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "training.epochs"),
        ({"batch_size": -1}, "training.batch_size"),
        ({"learning_rate": 0.0}, "training.learning_rate"),
        ({"patience": 0}, "training.patience"),
        ({"validation_share": 1.0}, "training.validation_share"),
    ],
)
def test_unusable_training_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TrainingOptions(**options)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "patience"])
def test_fractional_counts_are_refused(name):
    with pytest.raises(InputError, match=rf"training\.{name}: expected a whole number"):
        unlearn.TrainingOptions(**{name: 2.5})


def test_features_of_a_row_hardly_depend_on_its_batch(cnn, mixer, linear, dataset):
    """`design_noise` bounds how far they do, which removals from statistics count on; a linear design is exact."""
    for model in (cnn, mixer, linear):
        rows = model.training_rows(dataset)
        whole = model.design_of(dataset, rows)
        for size in (1, 3, 17, 200):
            some = np.random.default_rng(size).choice(len(rows), size, replace=False)
            again = model.design(torch.from_numpy(dataset.features[rows[some]]))
            assert float((again - whole[some]).norm()) <= model.design_noise * float(again.norm())
