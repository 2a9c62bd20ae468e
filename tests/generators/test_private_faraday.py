"""Private Faraday: what its card promises, what one household can do, and that it still learns."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.generators.builders import households
from unlearn.dp import GaussianSteps, Noise, SimulatedNoise, epsilon_spent, noise_source
from unlearn.errors import InputError, MismatchError
from unlearn.generators.faraday import (
    Faraday,
    FaradayOptions,
    FaradayPrivacy,
    LossWeights,
    MixtureOptions,
    VaeOptions,
    fit_faraday,
    fit_private_faraday,
    load_faraday,
    relabelled,
    save_faraday,
    untrained_faraday,
)
from unlearn.generators.faraday.private import _component_shares, _drawn_towards
from unlearn.generators.faraday.vae import profile_losses
from unlearn.households import HouseholdProfiles, simulate_households

extras = pytest.mark.extras
QUICK = FaradayPrivacy(epsilon=2.0, steps=12, days=8, sampling_rate=0.5)
SMALL = FaradayOptions(VaeOptions(latent=3, hidden=16, epochs=6, batch_size=64), MixtureOptions(n_components=4))


@pytest.fixture(scope="module")
def train() -> HouseholdProfiles:
    return households()


@pytest.fixture(scope="module")
def start(train: HouseholdProfiles) -> Faraday:
    """Fitted on other people, whose segments have other names."""
    public = replace(households(20, 40, seed=9).unlabelled(), segments=("early", "night"))
    return fit_faraday(relabelled(public, train.segments), SMALL, seed=1)


@pytest.fixture(scope="module")
def private(train: HouseholdProfiles, start: Faraday) -> Faraday:
    return fit_private_faraday(train, start, QUICK)


@extras
def test_the_card_says_what_covers_each_part_and_what_it_spent(private: Faraday) -> None:
    card = private.card["privacy"]
    parts = [GaussianSteps(part["noise_multiplier"], part["sampling_rate"], part["steps"]) for part in card["parts"]]
    assert [part["part"] for part in card["parts"]] == ["network", "weights of components and segments"]
    assert (parts[0].sampling_rate, parts[0].steps, parts[1].steps) == (0.5, 12, 1)
    assert card["epsilon"] == epsilon_spent(parts, card["delta"])
    assert 1.99 < card["epsilon"] <= 2.0
    low, _, high = card["epsilon_prv"]
    assert low <= card["epsilon"] <= high <= card["epsilon_rdp"]
    assert card["parts"][1]["epsilon_alone"] == pytest.approx(0.6, rel=1e-3)
    assert card["delta"] == pytest.approx(1 / 240)
    assert (card["unit"], card["n_units"], card["not_covered"]) == ("household", 24, [])
    assert "add or remove" in card["adjacency"]


@extras
def test_the_card_tells_nothing_of_single_households(private: Faraday, train: HouseholdProfiles) -> None:
    text = json.dumps(private.card)
    assert train.fingerprint not in text
    assert '"seed"' not in text
    assert not {"training", "mixture", "n_profiles", "fingerprint"} & set(private.card)
    assert private.card["privacy"]["noise"] == "os"
    said = " ".join(private.card["privacy"]["caveats"])
    assert "drawn exactly" in said
    assert "not for floats" in said
    assert "seed" not in said


@extras
def test_what_is_public_stays_that_of_the_start(private: Faraday, start: Faraday, train: HouseholdProfiles) -> None:
    assert private.scaler == start.scaler
    np.testing.assert_array_equal(private.residual, start.residual)
    np.testing.assert_array_equal(private.mixture.means, start.mixture.means)
    trained = dict(private.vae.named_parameters())
    for name, before in start.vae.named_parameters():
        assert torch.equal(trained[name], before) == name.endswith("weight"), name
    # Months and days of the week come from the calendar, not from what was measured.
    month = private.mixture.labels[0]
    days = np.arange(train.date.min(), train.date.max() + 1)
    share = np.mean(days.astype("datetime64[M]").astype(int) % 12 == 0)
    np.testing.assert_allclose(month[:, 0], share, rtol=1e-9)


@extras
def test_a_saved_private_generator_keeps_its_card(private: Faraday, tmp_path: Path) -> None:
    again = load_faraday(save_faraday(private, tmp_path / "model"))
    assert again.card == json.loads(json.dumps(private.card))
    assert again.sample(50, 1).fingerprint == private.sample(50, 1).fingerprint


@extras
def test_it_learns_where_noise_allows(train: HouseholdProfiles, bits: Callable[[int], None]) -> None:
    nothing = untrained_faraday(train.segments, 48, VaeOptions(latent=3, hidden=24))
    # Full batches are accounted for in no time.
    many = replace(QUICK, trained="all", learning_rate=1e-2, steps=40, sampling_rate=1.0)
    losses = {}
    for epsilon in (0.01, 20.0, None):
        bits(0)
        model = fit_private_faraday(train, nothing, replace(many, epsilon=epsilon))
        losses[epsilon] = _loss(model, train)
    before = _loss(nothing, train)
    assert losses[None] < 0.8 * before
    assert losses[20.0] < 0.9 * before
    assert losses[0.01] > losses[20.0]


def _loss(model: Faraday, profiles: HouseholdProfiles) -> float:
    x, labels = model.scaler.scale(profiles.kwh), model.space.one_hot(model.space.matrix(profiles))
    noise = torch.randn((len(x), model.vae.latent), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float(profile_losses(model.vae, x, labels, noise, LossWeights(), model.scaler.zero)[0].mean())


@extras
def test_without_a_promise_the_card_says_so(train: HouseholdProfiles, start: Faraday) -> None:
    card = fit_private_faraday(train, start, replace(QUICK, epsilon=None)).card["privacy"]
    assert (card["private"], card["epsilon"], card["epsilon_prv"]) == (False, None, None)
    assert card["noise"] == "none"
    assert card["not_covered"] == ["network", "weights of components and segments"]
    assert all(part["mechanism"] == "none: no noise" for part in card["parts"])


@extras
def test_noise_repeats_for_simulated_households_alone_and_its_card_says_so(train: HouseholdProfiles) -> None:
    simulated = simulate_households(24, n_days=20)
    nothing = untrained_faraday(simulated.segments, 48, VaeOptions(latent=3, hidden=16))

    def fitted(profiles: HouseholdProfiles, noise: Noise) -> Faraday:
        return fit_private_faraday(profiles, nothing, QUICK, noise=noise)

    def biases(noise: Noise) -> np.ndarray:
        return fitted(simulated, noise).vae.decoder[0].bias.numpy()

    np.testing.assert_array_equal(biases(SimulatedNoise(5)), biases(SimulatedNoise(5)))
    assert not np.array_equal(biases(SimulatedNoise(5)), biases(SimulatedNoise(6)))
    assert not np.array_equal(biases("os"), biases("os"))
    card = fitted(simulated, SimulatedNoise(5)).card["privacy"]
    assert (card["noise"], card["private"]) == ("simulated", False)
    assert "protects nobody" in card["caveats"][0]
    real = replace(simulated, kwh=simulated.kwh.copy())
    with pytest.raises(InputError, match='expected "os" for simulated households, got a seed'):
        fitted(real, SimulatedNoise(5))
    with pytest.raises(TypeError):
        fit_private_faraday(train, nothing, QUICK, seed=0)  # type: ignore[call-arg]


def test_one_household_moves_the_histogram_by_at_most_one(train: HouseholdProfiles, start: Faraday) -> None:
    nobody = GaussianSteps(0.0, 1.0, 1)

    def counts(profiles: HouseholdProfiles) -> np.ndarray:
        prior = _component_shares(start.vae, profiles, start, nobody, noise_source("os"))
        return prior * profiles.n_households

    everybody = counts(train)
    assert everybody.sum() == pytest.approx(24)
    for left_out in (0, 7):
        others = counts(train.of_households(np.delete(np.arange(24), left_out)))
        assert np.linalg.norm(everybody - others) <= 1 + 1e-4  # shares are kept above a millionth
    # A household with more days counts no more.
    days = train.take(np.r_[0:60, np.arange(60, len(train), 10)])
    assert counts(days).sum(axis=0) == pytest.approx([12, 12], abs=1e-3)


def test_noisy_shares_are_drawn_to_public_ones_as_noise_demands() -> None:
    prior = np.full((2, 3), 1 / 6)
    found = np.array([[0.4, 0.2, 0.1], [0.1, 0.1, 0.1]])
    np.testing.assert_allclose(_drawn_towards(found, prior, 0.0), found, rtol=1e-9)
    np.testing.assert_allclose(_drawn_towards(found, prior, 10.0), prior, rtol=1e-9)
    np.testing.assert_allclose(_drawn_towards(prior, prior, 1.0), prior, rtol=1e-9)
    # Against the risk of the noisy shares themselves, over draws: James and Stein (1961).
    random = np.random.default_rng(0)
    noisy = found + 0.1 * random.standard_normal((400, 2, 3))
    risk = np.mean([np.square(_drawn_towards(one, prior, 0.1) - found).sum() for one in noisy])
    assert risk < 0.8 * 6 * 0.1**2


def test_profiles_of_other_segments_get_those_of_the_private_ones() -> None:
    public = replace(households(20, 30).unlabelled(), segments=("early", "night"))
    again = relabelled(public, ("late", "early"), seed=2)
    assert again.segments == ("late", "early")
    assert (again.segment[public.segment == 0] == 1).all()
    assert set(again.segment[public.segment == 1]) == {0, 1}
    np.testing.assert_array_equal(again.kwh, public.kwh)


def test_losses_of_households_are_those_of_their_days(train: HouseholdProfiles) -> None:
    model = untrained_faraday(train.segments, 48, VaeOptions(latent=3, hidden=8))
    x, labels = model.scaler.scale(train.kwh[:12]), model.space.one_hot(model.space.matrix(train)[:12])
    noise = torch.randn((12, 3), generator=torch.Generator().manual_seed(0))
    flat, _ = profile_losses(model.vae, x, labels, noise, LossWeights(), model.scaler.zero)
    shaped = [part.unflatten(0, (3, 4)) for part in (x, labels, noise)]
    nested, _ = profile_losses(model.vae, *shaped, LossWeights(), model.scaler.zero)
    torch.testing.assert_close(nested.flatten(), flat)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, r"privacy\.epsilon"),
        ({"epsilon": float("inf")}, r"privacy\.epsilon"),
        ({"delta": 1.5}, r"privacy\.delta"),
        ({"clip": 0.0}, "clip"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
        ({"steps": 0}, "steps"),
        ({"days": 0}, r"privacy\.days"),
        ({"trained": "some"}, r"privacy\.trained"),
        ({"histogram_share": 1.0}, r"privacy\.histogram_share"),
        ({"learning_rate": -1.0}, r"privacy\.learning_rate"),
    ],
)
def test_settings_that_promise_nothing_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FaradayPrivacy(**settings)


def test_what_cannot_be_kept_private_is_refused(train: HouseholdProfiles, start: Faraday) -> None:
    with pytest.raises(InputError, match=r"less than 1/N = 0\.0417 for 24 households"):
        fit_private_faraday(train, start, replace(QUICK, delta=0.05))
    with pytest.raises(InputError, match="mmd, which no household has by itself"):
        fit_private_faraday(train, start, QUICK, LossWeights(kind="mmd"))
    with pytest.raises(InputError, match="as fitted"):
        fit_private_faraday(replace(train, segments=("a", "b")), start, QUICK)
    with pytest.raises(MismatchError, match=r"a Faraday of 48 steps a day.*got 24"):
        fit_private_faraday(train, untrained_faraday(train.segments, 24), QUICK)
    own = replace(start, card={**start.card, "fingerprint": train.fingerprint})
    with pytest.raises(MismatchError, match="fitted on them"):
        fit_private_faraday(train, own, QUICK)


@extras
def test_spending_twice_is_refused(private: Faraday, train: HouseholdProfiles) -> None:
    with pytest.raises(MismatchError, match=r"trained privately on .*: what that spent would not be counted"):
        fit_private_faraday(train, private, QUICK)
