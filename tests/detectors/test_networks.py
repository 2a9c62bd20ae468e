"""Networks of the published sizes; the hand-written pass through LSTM layers against autograd."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.detectors.gans import LENGTH, NETWORKS, small_gan, small_windows
from unlearn.detectors.gan.networks import Encoder, LstmPass, new_networks
from unlearn.detectors.gan.starts import LatentLoss
from unlearn.detectors.options import NetworkOptions
from unlearn.errors import InputError


def test_the_published_sizes() -> None:
    generator, discriminator = new_networks(NetworkOptions(), 0)
    assert [(layer.input_size, layer.hidden_size) for layer in generator.layers] == [(1, 32), (32, 64), (64, 128)]
    x = generator(torch.zeros(2, 60))
    assert x.shape == (2, 60)
    logit, features = discriminator(x)
    assert logit.shape == (2, 60)
    assert features.shape == (2, 60, 100)
    assert Encoder(7)(x).shape == (2, 60)


def test_windows_vary_with_z_from_the_first_step_only_with_spread_weights() -> None:
    z = 0.1 * torch.randn((200, 60), generator=torch.Generator().manual_seed(0))
    made = {name: new_networks(NetworkOptions(initial=name), 0)[0](z).std(dim=0).mean() for name in ("small", "spread")}
    assert made["small"] < 1e-3
    assert 0.1 < made["spread"] < 0.6


def test_initial_weights_follow_the_seed_and_leave_the_global_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (new_networks(NETWORKS, seed)[0].state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 7), st.integers(1, 5)),
    spare=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_the_pass_agrees_with_autograd(
    dtype: torch.dtype, atol: float, shape: tuple[int, int, int, int], spare: int, seed: int
) -> None:
    n_in, n_out, steps, n = shape
    torch.manual_seed(seed)
    layer = nn.LSTM(n_in, n_out).to(dtype)
    x = torch.randn(steps, n, n_in, dtype=dtype, requires_grad=True)
    states = layer(x)[0]
    weight = torch.randn_like(states)
    (gradient,) = torch.autograd.grad((states * weight).sum(), x)
    own = LstmPass(layer.state_dict(), steps, n + spare)
    for width in (n + spare, n):  # laying out anew leaves nothing behind
        own.resize(width)
        own.inputs.zero_()
        own.forward()
        own.backward(torch.ones_like(own.states))
    own.inputs.copy_(x.detach().transpose(1, 2))
    torch.testing.assert_close(own.forward().transpose(1, 2), states.detach(), atol=atol, rtol=0)
    torch.testing.assert_close(own.backward(weight.transpose(1, 2)).transpose(1, 2), gradient, atol=atol, rtol=0)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("options", [NETWORKS, NetworkOptions()])
def test_score_and_gradient_agree_with_autograd(options: NetworkOptions, dtype: torch.dtype, atol: float) -> None:
    generator, discriminator = (network.to(dtype) for network in new_networks(options, 1))
    random = torch.Generator().manual_seed(0)
    x = 2 * torch.rand((5, LENGTH), generator=random, dtype=dtype) - 1
    z = (0.1 * torch.randn((5, LENGTH), generator=random, dtype=dtype)).requires_grad_()
    made = generator(z)
    residual = (x - made).abs()
    distance = (discriminator(x)[1] - discriminator(made)[1]).abs().sum(dim=2)
    (gradient,) = torch.autograd.grad((0.7 * residual + 0.3 * distance).sum(), z)
    loss = LatentLoss(generator, discriminator, LENGTH, 8, 0.3)
    own_residual, own_distance = loss.parts(z.detach().t(), x.t(), loss.features(x.t()))
    torch.testing.assert_close(own_residual.t(), residual.detach(), atol=atol, rtol=0)
    torch.testing.assert_close(own_distance.t(), distance.detach(), atol=10 * atol, rtol=0)
    # Spread weights make gradients of about 1; in float32 a sum over 12 hours keeps five digits of them.
    torch.testing.assert_close(
        loss.gradient().t() / gradient.abs().max(), gradient / gradient.abs().max(), atol=atol, rtol=0
    )


def test_a_window_that_is_generated_is_at_no_distance_from_itself() -> None:
    gan = small_gan()
    z = 0.1 * torch.randn((LENGTH, 3), generator=torch.Generator().manual_seed(0))
    x = gan.generator(z.t()).t().contiguous()
    loss = LatentLoss(gan.generator, gan.discriminator, LENGTH, 3, 0.1)
    residual, distance = loss.parts(z, x, loss.features(x))
    assert residual.max() < 1e-6
    assert distance.max() < 1e-5
    assert small_windows().length == LENGTH


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator": ()}, "expected the hidden units of at least one layer"),
        ({"generator": (4, 0)}, r"gan\.networks\.generator: expected a whole number"),
        ({"discriminator": 0}, r"gan\.networks\.discriminator"),
        ({"latent_std": 0.0}, r"gan\.networks\.latent_std"),
        ({"initial": "large"}, "expected one of small, spread; got 'large'"),
    ],
)
def test_bad_sizes_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NetworkOptions(**settings)
