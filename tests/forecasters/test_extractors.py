"""Layer shapes of the CNN and the MLP-Mixer as the paper prints them."""

import pytest
import torch
from torch import nn

from unlearn.errors import InputError
from unlearn.forecasters.extractors import CnnExtractor, MixerBlock, MixerExtractor


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_cnn_layers_are_the_published_ones():
    cnn = CnnExtractor(14, 10)
    first, second = (layer for layer in cnn.convolutions if isinstance(layer, nn.Conv2d))
    assert (first.in_channels, first.out_channels, first.kernel_size, first.stride, first.padding) == (
        1, 8, (3, 3), (1, 1), (1, 1),
    )  # fmt: skip
    assert (second.in_channels, second.out_channels, second.kernel_size, second.stride, second.padding) == (
        8, 8, (4, 4), (2, 2), (1, 1),
    )  # fmt: skip
    assert cnn.linear.in_features == 8 * 7 * 5
    assert count(cnn) == (8 * 9 + 8) + (8 * 8 * 16 + 8) + (280 * 64 + 64)


def test_mixer_has_35_patches_and_two_blocks():
    mixer = MixerExtractor(14, 10)
    seen = []
    mixer.embed.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].shape, output.shape)))
    mixer(torch.zeros(3, 14, 10))
    assert seen == [((3, 35, 4), (3, 35, 64))]
    assert sum(isinstance(module, MixerBlock) for module in mixer.modules()) == 2
    mix_patches = (35 * 64 + 64) + (64 * 35 + 35)
    mix_channels = 2 * (64 * 64 + 64)
    block = mix_patches + mix_channels + 2 * 128
    assert count(mixer) == (4 * 64 + 64) + 2 * block + 128 + (35 * 64 * 64 + 64)


def test_a_patch_is_a_square_of_two_loads_and_two_features():
    mixer = MixerExtractor(4, 6)
    seen = []
    mixer.embed.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    mixer(torch.arange(24.0).reshape(1, 4, 6))
    assert seen[0][0, 0].tolist() == [0, 1, 6, 7]
    assert seen[0][0, 1].tolist() == [2, 3, 8, 9]
    assert seen[0][0, 3].tolist() == [12, 13, 18, 19]


@pytest.mark.parametrize(("loads", "features", "patches"), [(3, 9, 10), (5, 10, 15), (14, 7, 28)])
def test_odd_sides_are_padded_with_zeros(loads, features, patches):
    mixer = MixerExtractor(loads, features)
    seen = []
    mixer.embed.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    assert mixer(torch.ones(2, loads, features)).shape == (2, 64)
    assert seen[0].shape == (2, patches, 4)
    assert seen[0].sum() == 2 * loads * features


@pytest.mark.parametrize("build", [CnnExtractor, MixerExtractor])
@pytest.mark.parametrize("size", [(14, 10), (3, 10), (5, 9)])
def test_features_are_64_numbers_between_minus_one_and_one(build, size):
    torch.manual_seed(0)
    extracted = build(*size)(10 * torch.randn(7, *size))
    assert extracted.shape == (7, 64)
    assert extracted.abs().max() <= 1
    assert extracted.min() < -0.1, "tanh, not ReLU"


def test_a_cnn_over_a_single_load_is_refused():
    with pytest.raises(InputError, match="at least 2 loads"):
        CnnExtractor(1, 10)
