"""The hourly start against a search that runs the whole networks anew for every value of every hour."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.detectors.gans import LENGTH, small_gan, small_windows
from unlearn.detectors.gan.inversion import invert
from unlearn.detectors.gan.networks import TrainedGan
from unlearn.detectors.gan.starts import SPAN, HourlySearch
from unlearn.detectors.options import InversionOptions
from unlearn.errors import InputError

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
