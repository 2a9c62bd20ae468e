"""Latent inversion against a plain loop, its hourly start against whole networks, and its encoder against autograd."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.detectors.gans import LENGTH, small_gan, small_windows
from unlearn.detectors.gan.inversion import invert, train_encoder
from unlearn.detectors.gan.networks import Encoder, TrainedGan
from unlearn.detectors.gan.starts import SPAN, HourlySearch
from unlearn.detectors.options import EncoderOptions, InversionOptions
from unlearn.errors import ConvergenceError, InputError

STOPPING = InversionOptions(max_iter=20, learning_rate=0.1, patience=2, tolerance=0.02, batch_size=4)


@pytest.fixture(scope="module")
def double() -> TrainedGan:
    """The small networks in float64, in which searches compare to many digits."""
    gan = small_gan()
    return replace(gan, generator=deepcopy(gan.generator).double(), discriminator=deepcopy(gan.discriminator).double())


def one_at_a_time(gan: TrainedGan, x: np.ndarray, options: InversionOptions, seed: int) -> tuple[float, int]:
    """Best S of a window and steps taken, with autograd and PyTorch's Adam."""
    given = torch.from_numpy(x)[None]
    start = gan.latent_std * np.random.default_rng(seed).standard_normal(len(x))
    z = torch.from_numpy(start)[None].requires_grad_()
    features = gan.discriminator(given)[1]
    optimiser = torch.optim.Adam([z], options.learning_rate)
    best = mark = np.inf
    waited = 0
    for step in range(options.max_iter):
        made = gan.generator(z)
        score = (1 - options.feature_weight) * (given - made).abs().sum()
        score = score + options.feature_weight * (features - gan.discriminator(made)[1]).abs().sum()
        value = score.item()
        best = min(best, value)
        gained = value < (1 - options.tolerance) * mark
        mark, waited = (value, 0) if gained else (mark, waited + 1)
        if options.patience is not None and waited >= options.patience:
            return best, step + 1
        optimiser.zero_grad()
        score.backward()
        optimiser.step()
    return best, options.max_iter


@pytest.mark.parametrize("options", [InversionOptions(max_iter=8, learning_rate=0.02), STOPPING])
def test_all_at_once_is_one_at_a_time(double: TrainedGan, options: InversionOptions) -> None:
    x = small_windows().values[:60:9].astype(np.float64)
    found = invert(double, x, options, seed=5)
    expected = [one_at_a_time(double, row, options, seed=5) for row in x]
    np.testing.assert_allclose(found.score, [score for score, _ in expected], rtol=1e-9)
    assert found.steps.tolist() == [steps for _, steps in expected]
    if options.patience is not None:
        assert len(set(found.steps.tolist())) > 2, "windows stop at different times"


@pytest.mark.parametrize("options", [InversionOptions(max_iter=10), replace(STOPPING, batch_size=64)])
def test_a_score_does_not_depend_on_the_batch_to_the_last_bit(options: InversionOptions) -> None:
    gan, x = small_gan(), small_windows().values[:70]
    whole = invert(gan, x, options)
    found = invert(gan, x, replace(options, batch_size=32))
    np.testing.assert_array_equal(found.hour, whole.hour)
    np.testing.assert_array_equal(found.steps, whole.steps)
    order = np.random.default_rng(0).permutation(70)[:45]
    np.testing.assert_array_equal(invert(gan, x[order], options).hour, whole.hour[order])
    alone = [invert(gan, row[None], options).score[0] for row in x[:5]]
    np.testing.assert_array_equal(alone, whole.score[:5])


def test_the_parts_add_up_and_belong_to_the_z_that_is_returned(double: TrainedGan) -> None:
    x = small_windows().values[:6].astype(np.float64)
    found = invert(double, x, replace(STOPPING, feature_weight=0.3))
    made = double.generator(torch.from_numpy(found.z))
    np.testing.assert_allclose(found.residual, (made - torch.from_numpy(x)).abs(), atol=1e-12)
    gap = (double.discriminator(made)[1] - double.discriminator(torch.from_numpy(x))[1]).abs().sum(dim=2)
    np.testing.assert_allclose(found.distance, gap, atol=1e-12)
    np.testing.assert_allclose(found.hour, 0.7 * found.residual + 0.3 * found.distance, rtol=1e-12)
    np.testing.assert_allclose(found.score, found.hour.sum(axis=1), rtol=1e-12)


def test_more_steps_never_score_higher(double: TrainedGan) -> None:
    x = small_windows().values[:8].astype(np.float64)
    scores = [invert(double, x, InversionOptions(max_iter=steps)).score for steps in (1, 5, 20)]
    assert (scores[1] <= scores[0]).all()
    assert (scores[2] <= scores[1]).all()
    assert (scores[2] < scores[0]).any()


def test_a_window_that_was_generated_is_found_again() -> None:
    gan = small_gan()
    made = gan.sample(6, seed=9).numpy()
    strange = np.where(np.arange(LENGTH) % 2, 3.0, -3.0)[None].repeat(6, axis=0)
    options = InversionOptions(max_iter=30, learning_rate=0.05)
    assert invert(gan, made, options).score.max() < 0.3 * invert(gan, strange, options).score.min()


def test_the_encoder_gives_the_start() -> None:
    gan = train_encoder(small_gan(), small_windows(), EncoderOptions(8, 6, 16, 0.01), seed=1)
    x = small_windows().values
    single = InversionOptions(max_iter=1)
    warm = invert(gan, x, replace(single, start="encoder"))
    np.testing.assert_allclose(warm.z, gan.encoder(torch.from_numpy(x)), atol=1e-6)  # type: ignore[misc]
    assert warm.score.mean() < invert(gan, x, single).score.mean()


def test_no_windows_have_no_scores() -> None:
    found = invert(small_gan(), np.empty((0, LENGTH)))
    assert found.score.shape == (0,)
    assert found.hour.shape == (0, LENGTH)


def test_unusable_windows_are_refused() -> None:
    gan, x = small_gan(), small_windows().values[:3].copy()
    with pytest.raises(InputError, match=rf"windows: expected shape \(any, {LENGTH}\), got \(3, {LENGTH - 1}\)"):
        invert(gan, x[:, 1:])
    x[2, 4] = np.nan
    with pytest.raises(InputError, match=r"windows: expected finite values.*\(2, 4\)"):
        invert(gan, x)
    with pytest.raises(InputError, match="expected a GAN with an encoder, got one without"):
        invert(gan, x[:2], InversionOptions(start="encoder"))
    broken = replace(gan, generator=deepcopy(gan.generator))
    with torch.no_grad():
        broken.generator.output.bias.fill_(torch.nan)
    with pytest.raises(ConvergenceError, match="the score of window 0 is not finite"):
        invert(broken, x[:2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_iter": 0}, r"inversion\.max_iter"),
        ({"learning_rate": 0.0}, r"inversion\.learning_rate"),
        ({"feature_weight": 1.5}, r"inversion\.feature_weight: expected a share from 0 to 1"),
        ({"batch_size": 0}, r"inversion\.batch_size"),
        ({"patience": 0}, r"inversion\.patience"),
        ({"tolerance": -0.1}, r"inversion\.tolerance"),
        ({"start": "zero"}, "expected one of encoder, hourly, random; got 'zero'"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        InversionOptions(**settings)


HOURLY = InversionOptions(max_iter=1, start="hourly", tried=7)


@torch.no_grad()
def plain_search(gan: TrainedGan, x: torch.Tensor, grid: np.ndarray, weight: float) -> torch.Tensor:
    """The first z of one window: value by value, hour by hour, whole windows through the networks."""
    z = torch.zeros((1, LENGTH), dtype=x.dtype)
    features = gan.discriminator(x[None])[1]
    for t in range(LENGTH):
        scores = []
        for value in grid:
            z[0, t] = value
            made = gan.generator(z)
            distance = (gan.discriminator(made)[1] - features)[0, t].abs().sum()
            scores.append(float((1 - weight) * (made[0, t] - x[t]).abs() + weight * distance))
        z[0, t] = grid[int(np.argmin(scores))]
    return z[0]


def test_it_chooses_the_best_value_of_each_hour_after_those_before() -> None:
    gan = small_gan()
    gan = replace(gan, generator=deepcopy(gan.generator).double(), discriminator=deepcopy(gan.discriminator).double())
    noise = 0.2 * torch.randn((3, LENGTH), generator=torch.Generator().manual_seed(0))
    x = gan.generator(noise.double()).detach()
    grid = gan.latent_std * np.linspace(-SPAN, SPAN, 5)
    expected = torch.stack([plain_search(gan, row, grid, 0.3) for row in x])
    search = HourlySearch(gan.generator, gan.discriminator, gan.latent_std, 5, 0.3)
    for _ in range(2):  # a second search begins from nothing again
        torch.testing.assert_close(search.search(x.t()).t(), expected, atol=1e-12, rtol=0)
    assert len(expected.unique()) == 5


def test_the_search_begins_there_and_goes_on_to_lower_scores() -> None:
    gan, x = small_gan(), small_windows().values[:50]
    first = invert(gan, x, HOURLY)
    grid = gan.latent_std * np.linspace(-SPAN, SPAN, 7, dtype=np.float32)
    assert (np.abs(first.z[..., None] - grid).min(axis=-1) < 1e-7).all()
    assert first.score.mean() < 0.8 * invert(gan, x, replace(HOURLY, start="random")).score.mean()
    later = invert(gan, x, replace(HOURLY, max_iter=15)).score
    assert (later <= first.score).all()
    assert later.mean() < 0.95 * first.score.mean()


def test_it_does_not_depend_on_the_batch_to_the_last_bit() -> None:
    gan, x = small_gan(), small_windows().values[:70]
    options = replace(HOURLY, max_iter=3)
    whole = invert(gan, x, options).hour
    np.testing.assert_array_equal(invert(gan, x, replace(options, batch_size=32)).hour, whole)
    np.testing.assert_array_equal(invert(gan, x[66:67], options).hour, whole[66:67])


def test_less_than_two_values_are_refused() -> None:
    with pytest.raises(InputError, match=r"inversion\.tried: expected a whole number of at least 2, got 1"):
        InversionOptions(tried=1)


def test_a_step_follows_the_gradient_of_the_loss_through_the_frozen_networks() -> None:
    gan, windows = small_gan(), small_windows().take(np.arange(9))
    options = EncoderOptions(hidden=3, epochs=2, batch_size=9, learning_rate=0.01, feature_weight=0.3, pull=0.05)
    found = train_encoder(gan, windows, options, seed=2)

    torch.manual_seed(2)
    encoder = Encoder(3)
    optimiser = torch.optim.Adam(encoder.parameters(), 0.01)
    x = torch.from_numpy(windows.values.copy())
    losses = []
    for _ in range(2):
        z = encoder(x)
        made = gan.generator(z)
        distance = (gan.discriminator(made)[1] - gan.discriminator(x)[1]).abs().sum(dim=2)
        loss = (0.7 * (made - x).abs() + 0.3 * distance).mean() + 0.05 * (z / gan.latent_std).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert found.card["encoder_loss"] == pytest.approx(losses, rel=1e-5)
    assert found.encoder is not None
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(found.encoder.state_dict()[name], value, atol=2e-4, rtol=0, msg=name)


def test_it_learns_and_leaves_the_gan_as_it_is() -> None:
    gan = small_gan()
    before = {name: value.clone() for name, value in gan.generator.state_dict().items()}
    found = train_encoder(gan, small_windows(), EncoderOptions(4, 3, 32, 0.01))
    losses = found.card["encoder_loss"]
    assert losses[-1] < losses[0]
    assert gan.encoder is None
    assert "encoder_loss" not in gan.card
    assert all(torch.equal(before[name], value) for name, value in found.generator.state_dict().items())
    again = train_encoder(gan, small_windows(), EncoderOptions(4, 3, 32, 0.01))
    assert again.card["encoder_loss"] == losses


def test_unusable_windows_and_settings_are_refused() -> None:
    windows = small_windows()
    with pytest.raises(InputError, match="expected 12 hours, as the GAN was trained on, got 11"):
        train_encoder(small_gan(), replace(windows, values=windows.values[:, 1:]))
    with pytest.raises(ConvergenceError, match=r"Lower gan\.encoder\.learning_rate"):
        train_encoder(small_gan(), windows, EncoderOptions(2, 1, 8, learning_rate=3e37))
    for bad in ({"hidden": 0}, {"learning_rate": 0.0}, {"pull": -1.0}, {"feature_weight": 2.0}):
        with pytest.raises(InputError, match=r"gan\.encoder\."):
            EncoderOptions(**bad)
