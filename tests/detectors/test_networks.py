"""Networks of the published sizes, their hand-written pass against autograd, and training that goes on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import unlearn.detectors.gan.networks as adversarial
from tests.detectors.gans import LENGTH, NETWORKS, TRAINING, small_gan, small_windows
from unlearn.detectors.gan.inversion import FittedGan, fit_gan, invert
from unlearn.detectors.gan.networks import Encoder, LstmPass, TrainedGan, new_networks, train_gan
from unlearn.detectors.gan.starts import LatentLoss
from unlearn.detectors.options import (
    AdversarialOptions,
    Autoencoder,
    EncoderOptions,
    Gan,
    InversionOptions,
    NetworkOptions,
)
from unlearn.detectors.storage import load_detector, save_detector
from unlearn.errors import ConvergenceError, DataError, InputError
from unlearn.records import read_json, write_card


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


def weights(gan: TrainedGan) -> dict[str, torch.Tensor]:
    own = gan.generator.state_dict(prefix="g.") | gan.discriminator.state_dict(prefix="d.")
    return {name: value.clone() for name, value in own.items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_one_batch_is_a_step_of_a_plain_loop() -> None:
    windows = small_windows().take(np.arange(10))
    options = replace(TRAINING, epochs=1, batch_size=10, real_target=0.9)
    found = train_gan(windows, NETWORKS, options, seed=4)

    generator, discriminator = new_networks(NETWORKS, 4)
    random = torch.Generator().manual_seed(int(np.random.SeedSequence([4, 0]).generate_state(1)[0]))
    real = torch.from_numpy(windows.values[torch.randperm(10, generator=random).numpy()])
    noise = 0.1 * torch.randn((10, LENGTH), generator=random)
    judge = torch.optim.Adam(discriminator.parameters(), 5e-3)
    maker = torch.optim.Adam(generator.parameters(), 5e-3)
    entropy = nn.BCELoss()
    chance = [torch.sigmoid(discriminator(x)[0]) for x in (real, generator(noise).detach())]
    loss = entropy(chance[0], torch.full_like(chance[0], 0.9)) + entropy(chance[1], torch.zeros_like(chance[1]))
    loss.backward()
    judge.step()
    fooled = torch.sigmoid(discriminator(generator(noise))[0])
    maker_loss = entropy(fooled, torch.ones_like(fooled))
    maker_loss.backward()
    maker.step()

    for name, value in (generator.state_dict(prefix="g.") | discriminator.state_dict(prefix="d.")).items():
        torch.testing.assert_close(weights(found)[name], value, atol=1e-5, rtol=0, msg=name)
    history = found.card["history"]
    assert history["discriminator_loss"] == pytest.approx([loss.item()], abs=1e-5)
    assert history["generator_loss"] == pytest.approx([maker_loss.item()], abs=1e-5)
    assert history["real_probability"] == pytest.approx([chance[0].mean().item()], abs=1e-5)


def test_the_seed_decides() -> None:
    again, other = (train_gan(small_windows(), NETWORKS, TRAINING, seed=seed) for seed in (3, 4))
    assert_same(weights(small_gan()), weights(again))
    assert not torch.equal(weights(again)["g.output.weight"], weights(other)["g.output.weight"])
    assert torch.equal(small_gan().sample(4, seed=1), again.sample(4, seed=1))
    assert small_gan().sample(4).shape == (4, LENGTH)


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(TRAINING, epochs=4)
    whole = train_gan(small_windows(), NETWORKS, options, seed=3)
    epoch, done = adversarial._one_epoch, []

    def interrupted(*given: object) -> dict[str, float]:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(epoch(*given))  # type: ignore[arg-type]
        return done[-1]

    monkeypatch.setattr(adversarial, "_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_gan(small_windows(), NETWORKS, options, seed=3, folder=tmp_path)
    monkeypatch.setattr(adversarial, "_one_epoch", epoch)
    resumed = train_gan(small_windows(), NETWORKS, options, seed=3, folder=tmp_path)
    assert_same(weights(whole), weights(resumed))
    assert resumed.card["history"] == whole.card["history"]
    assert resumed.card["history"]["generator_loss"][:2] == [row["generator_loss"] for row in done]
    # A finished one is not trained again.
    monkeypatch.setattr(adversarial, "_one_epoch", None)
    assert_same(weights(whole), weights(train_gan(small_windows(), NETWORKS, options, seed=3, folder=tmp_path)))


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    train_gan(small_windows(), NETWORKS, replace(TRAINING, epochs=1), seed=3, folder=tmp_path)
    for changed in ({"seed": 4}, {"options": replace(TRAINING, epochs=1, learning_rate=1e-3)}):
        given = {"networks": NETWORKS, "options": replace(TRAINING, epochs=1), "seed": 3, **changed}
        with pytest.raises(InputError, match="got that of one with other settings"):
            train_gan(small_windows(), folder=tmp_path, **given)  # type: ignore[arg-type]
    (tmp_path / "checkpoint.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="Delete it to begin anew"):
        train_gan(small_windows(), NETWORKS, TRAINING, folder=tmp_path)


def test_only_normal_windows_are_trained_on() -> None:
    windows = small_windows(labelled=True)
    assert windows.hour_labels is not None
    labels = windows.hour_labels.copy()
    labels[5, 3] = True
    spoilt = replace(windows, hour_labels=labels)
    with pytest.raises(InputError, match=rf"expected normal ones to train on, got 1 of {len(windows)}"):
        train_gan(spoilt, NETWORKS, TRAINING)
    assert_same(weights(train_gan(windows, NETWORKS, TRAINING, seed=3)), weights(small_gan()))
    with pytest.raises(InputError, match="expected at least 2 to train on, got 1"):
        train_gan(windows.take([0]), NETWORKS, TRAINING)
    missing = windows.values.copy()
    missing[1, 2] = np.nan
    with pytest.raises(InputError, match=r"windows: expected finite values.*\(1, 2\)"):
        train_gan(replace(windows, values=missing), NETWORKS, TRAINING)


def test_a_training_that_diverges_is_refused() -> None:
    with pytest.raises(ConvergenceError, match=r"in epoch 0\. Lower gan\.training\.learning_rate"):
        train_gan(small_windows(), NETWORKS, replace(TRAINING, learning_rate=3e37))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"gan\.training\.epochs"),
        ({"batch_size": 1.5}, r"gan\.training\.batch_size"),
        ({"learning_rate": -1.0}, r"gan\.training\.learning_rate"),
        ({"betas": (0.9, 1.0)}, r"gan\.training\.betas: expected two numbers"),
        ({"real_target": 0.5}, r"gan\.training\.real_target: expected a number above 0\.5"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        AdversarialOptions(**settings)


@pytest.fixture(scope="module")
def fitted() -> FittedGan:
    options = Gan(NETWORKS, TRAINING, EncoderOptions(4, 2), InversionOptions(max_iter=5, start="encoder"))
    return fit_gan(small_windows(), options, seed=3)


def test_the_detector_scores_windows_and_hours(fitted: FittedGan) -> None:
    windows = small_windows().take(np.arange(7))
    scores = fitted.score(windows)
    found = invert(fitted.gan, windows.values, fitted.inversion, seed=3)
    assert fitted.name == "gan"
    np.testing.assert_array_equal(scores.hour, found.hour)
    np.testing.assert_allclose(scores.window, scores.hour.sum(axis=1), rtol=1e-12)
    assert (scores.window > 0).all()


def test_a_detector_is_the_same_after_reading(fitted: FittedGan, tmp_path: Path) -> None:
    windows = small_windows().take(np.arange(5))
    plain = replace(fitted, gan=replace(fitted.gan, encoder=None, card=small_gan().card), inversion=InversionOptions(5))
    (autoencoder,) = Autoencoder(3, 1).fit(small_windows())
    for detector in (fitted, plain, autoencoder):
        read = load_detector(save_detector(detector, tmp_path / "detector"))  # each replaces the one before
        np.testing.assert_array_equal(read.score(windows).hour, detector.score(windows).hour)
        assert read.state()[0] == json.loads(json.dumps(detector.state()[0]))
    names = {file.name for file in (tmp_path / "detector").iterdir()}
    assert names == {"autoencoder.safetensors", "card.json"}


def test_files_that_are_not_a_detector_are_refused(fitted: FittedGan, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_detector(tmp_path)
    (tmp_path / "weights").write_text("")
    write_card({"kind": "faraday"}, tmp_path, ["weights"])
    with pytest.raises(InputError, match="got a card of kind 'faraday'"):
        load_detector(tmp_path)
    (tmp_path / "own.txt").write_text("mine")
    with pytest.raises(InputError, match=r"an earlier detector, got card\.json, own\.txt, weights"):
        save_detector(fitted, tmp_path)
    folder = save_detector(fitted, tmp_path / "gan")
    card = read_json(folder / "card.json")
    (folder / "generator.safetensors").write_bytes((folder / "encoder.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"generator\.safetensors: expected the content .* save the detector again"):
        load_detector(folder)
    write_card(card, folder, card["files"])
    with pytest.raises(InputError, match=r"generator\.safetensors: does not fit its card"):
        load_detector(folder)
    write_card({"kind": "gan"}, folder, card["files"])
    with pytest.raises(InputError, match="not a card of this version"):
        load_detector(folder)
