"""The encoder: against autograd through the frozen networks, and what it leaves as it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.detectors.gans import small_gan, small_windows
from unlearn.detectors.gan.inversion import train_encoder
from unlearn.detectors.gan.networks import Encoder
from unlearn.detectors.options import EncoderOptions
from unlearn.errors import ConvergenceError, InputError


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
