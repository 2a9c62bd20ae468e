"""DP-SGD of households: against plain gradient descent, what one household can do, and the noise."""

import random
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor, nn

from unlearn.dp import (
    GaussianSteps,
    Noise,
    NoiseSource,
    SgdOptions,
    SimulatedNoise,
    noise_source,
    train_privately,
)
from unlearn.dp.sgd import Batch
from unlearn.errors import ConvergenceError, InputError, MismatchError
from unlearn.households import simulate_households

pytestmark = pytest.mark.extras

N, DAYS, D = 6, 4, 3
HUGE = 1e6


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return (
        torch.randn(N, DAYS, D, generator=drawn, dtype=torch.float64),
        torch.randn(N, DAYS, 2, generator=drawn, dtype=torch.float64),
    )


def network(convolutional: bool = False) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if convolutional:
            return nn.Sequential(
                nn.Unflatten(1, (1, D)), nn.Conv1d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 2)
            ).double()
        return nn.Sequential(nn.Linear(D, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def by_household(model: nn.Module, x: Tensor, y: Tensor) -> Batch:
    """The first axis is the household, days are the second."""
    return lambda units, _: ((model(x[units]) - y[units]).square().mean(dim=(1, 2)), torch.arange(len(units)))


def by_row(model: nn.Module, x: Tensor, y: Tensor, days: list[int] | None = None) -> Batch:
    """The first axis is the row; a household may have any number of them."""
    many = days or [DAYS] * N

    def batch(units: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        position = torch.cat([torch.full((many[unit],), i) for i, unit in enumerate(units.tolist())])
        rows = [[x[unit, : many[unit]], y[unit, : many[unit]]] for unit in units.tolist()]
        inputs, targets = (torch.cat(part) for part in zip(*rows, strict=True))
        return (model(inputs) - targets).square().mean(dim=1), position

    return batch


def moved(model: nn.Module, batch: Batch, n: int = N, rate: float = 1.0, **chosen: float) -> np.ndarray:
    """How a run of plain steps of size 1 moves the parameters."""
    options = SgdOptions(**{"clip": HUGE, "noise_multiplier": 0.0, "sampling_rate": rate, "steps": 1, **chosen})
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    run = train_privately(model, batch, n, optimiser, options)
    assert run.spent == GaussianSteps(options.noise_multiplier, rate, options.steps)
    assert len(run.losses) == options.steps
    after = nn.utils.parameters_to_vector(model.parameters()).detach()
    return (after - before).numpy()


@pytest.mark.parametrize(("layout", "convolutional"), [(by_household, False), (by_row, False), (by_row, True)])
def test_without_noise_and_clipping_it_is_gradient_descent(layout, convolutional: bool) -> None:
    x, y = data()
    plain, model = network(convolutional), network(convolutional)
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        (plain(x.flatten(0, 1)) - y.flatten(0, 1)).square().mean().backward()
        optimiser.step()
    options = SgdOptions(HUGE, 0.0, 1.0, 5)
    train_privately(model, layout(model, x, y), N, torch.optim.SGD(model.parameters(), lr=0.1), options)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        # Opacus shortens every gradient by the factor clip / (norm + 1e-6), at most 1.
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@given(scale=st.floats(1e-2, 1e4), days=st.integers(1, DAYS), clip=st.floats(1e-2, 10))
@pytest.mark.parametrize("convolutional", [False, True])
def test_one_household_moves_a_step_by_at_most_its_clip(
    scale: float, days: int, clip: float, convolutional: bool
) -> None:
    x, y = data()
    y[0] *= scale
    many = [days] + [DAYS] * (N - 1)
    model = network(convolutional)
    alone = moved(model, by_row(model, x[:1], y[:1], many), n=1, clip=clip)
    assert np.linalg.norm(alone) <= clip * (1 + 1e-9)
    # The others' part of the sum does not depend on it: the sum moves by its own gradient.
    everybody, others = network(convolutional), network(convolutional)
    together = N * moved(everybody, by_row(everybody, x, y, many), clip=clip)
    rest = (N - 1) * moved(others, by_row(others, x[1:], y[1:], many[1:]), n=N - 1, clip=clip)
    np.testing.assert_allclose(together - rest, alone, rtol=1e-7, atol=1e-9 * clip)


def test_rows_that_are_there_twice_count_once() -> None:
    x, y = data()
    first, second = network(), network()
    few = moved(first, by_row(first, x[:, :2], y[:, :2], [2] * N), clip=0.3)
    twice = [torch.cat([part[:, :2], part[:, :2]], dim=1) for part in (x, y)]
    many = moved(second, by_row(second, *twice), clip=0.3)
    np.testing.assert_allclose(few, many, rtol=1e-12)


def test_both_layouts_clip_alike() -> None:
    x, y = data()
    first, second = network(), network()
    np.testing.assert_allclose(
        moved(first, by_household(first, x, y), clip=0.2), moved(second, by_row(second, x, y), clip=0.2), rtol=1e-9
    )


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_noise_has_the_stated_scale_and_no_step_goes_without(rate: float) -> None:
    steps, noise, clip = 150, 2.0, 0.25
    x, _ = data()
    model = network()

    def silent(units: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        return 0 * model(x[units]).square().mean(dim=(1, 2)), torch.arange(len(units))

    found = moved(model, silent, rate=rate, steps=steps, noise_multiplier=noise, clip=clip)
    sd = noise * clip * np.sqrt(steps) / (rate * N)
    # Two-sided at a level of 1e-6.
    assert chi2.ppf(5e-7, found.size) < (found**2).sum() / sd**2 < chi2.isf(5e-7, found.size)


def test_steps_without_households_only_add_noise() -> None:
    model = network()

    def never(units: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        raise AssertionError("no household takes part")

    found = moved(model, never, rate=1e-9, steps=3, noise_multiplier=1e-9, clip=1.0)
    assert (found != 0).all()


def test_households_take_part_with_the_stated_chance() -> None:
    x, y = data()
    model = network()
    seen: list[Tensor] = []
    inner = by_household(model, x, y)

    def watching(units: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        seen.append(units)
        return inner(units, generator)

    steps = 300
    moved(model, watching, rate=0.3, steps=steps, clip=1e-3)
    counts = torch.bincount(torch.cat(seen), minlength=N).numpy()
    # Each within 6 standard errors, and steps differ in how many take part.
    assert (abs(counts - 0.3 * steps) < 6 * np.sqrt(0.21 * steps)).all()
    assert len({len(units) for units in seen}) > 3


def test_runs_repeat_with_their_bits_alone(bits: Callable[[int], None]) -> None:
    x, y = data()

    def result() -> np.ndarray:
        model = network()
        return moved(model, by_household(model, x, y), rate=0.5, steps=3, noise_multiplier=1.0, clip=1.0)

    assert not np.array_equal(result(), result())
    bits(1)
    first = result()
    bits(1)
    np.testing.assert_array_equal(result(), first)


def test_a_seed_needs_data_that_are_simulated() -> None:
    x, y = data()

    def result(noise: Noise | NoiseSource) -> np.ndarray:
        model = network()
        options, optimiser = SgdOptions(1.0, 1.0, 0.5, 3), torch.optim.SGD(model.parameters(), lr=1.0)
        train_privately(model, by_household(model, x, y), N, optimiser, options, noise)
        return nn.utils.parameters_to_vector(model.parameters()).detach().numpy()

    with pytest.raises(InputError, match="got a seed: whoever knows or guesses it"):
        result(SimulatedNoise(1))
    simulated = simulate_households(2, n_days=2)
    first, again = (result(noise_source(SimulatedNoise(1), simulated)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    # As many bits as the seed has.
    assert not np.array_equal(first, result(noise_source(SimulatedNoise(1 + 2**32), simulated)))


def test_neither_coins_nor_noise_come_from_the_global_generators(bits: Callable[[int], None]) -> None:
    x, y = data()

    def result(seed: int) -> np.ndarray:
        bits(0)
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        model = network()
        return moved(model, by_household(model, x, y), rate=0.5, steps=2, noise_multiplier=1.0, clip=1.0)

    np.testing.assert_array_equal(result(0), result(1))


def test_noise_of_single_precision_is_added_before_it_is_rounded() -> None:
    # Were it rounded first, sums with a large gradient would show in which steps noise is made.
    model = nn.Linear(2000, 1, bias=False)

    def silent(units: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        return 0 * model(torch.ones(len(units), 2000))[:, 0], torch.arange(len(units))

    with torch.no_grad():
        model.weight.zero_()
    found = moved(model, silent, noise_multiplier=1.0, clip=float(N))
    assert found.dtype == np.float32
    assert chi2.ppf(5e-7, 2000) < (found.astype(float) ** 2).sum() < chi2.isf(5e-7, 2000)


def test_a_gradient_that_cannot_be_clipped_is_refused() -> None:
    model = nn.Linear(1, 1).double()

    def steep(units: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        return model(torch.zeros(len(units), 1).double())[:, 0].sqrt(), torch.arange(len(units))

    nn.init.zeros_(model.bias)  # a root is infinitely steep at 0, where the loss is finite
    with pytest.raises(ConvergenceError, match="a gradient became NaN or infinite"):
        moved(model, steep)


def test_the_network_is_plain_again_afterwards() -> None:
    x, y = data()
    model = network()
    moved(model, by_household(model, x, y))
    model(x).sum().backward()
    for parameter in model.parameters():
        assert not hasattr(parameter, "grad_sample")
        assert not hasattr(parameter, "summed_grad")
    moved(model, by_household(model, x, y))  # and can be trained once more


def test_frozen_parameters_stay() -> None:
    x, y = data()
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    train_privately(model, by_household(model, x, y), N, optimiser, SgdOptions(1.0, 1.0, 1.0, 2))
    torch.testing.assert_close(model[0].weight, before, rtol=0, atol=0)


def test_layers_that_mix_households_are_refused() -> None:
    model = nn.Sequential(nn.Linear(D, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    with pytest.raises(InputError, match=r"BatchNorm.*GroupNorm"):
        moved(model, by_row(model, *data()))


def test_losses_that_do_not_fit_are_refused() -> None:
    x, y = data()
    model = network()
    with pytest.raises(MismatchError, match=r"expected a loss for each of the 6 rows .* got 24"):
        moved(model, lambda units, _: ((model(x) - y).square().mean(dim=2).flatten(), torch.arange(24) // DAYS))
    with pytest.raises(MismatchError, match="households from 0 to 5"):
        moved(model, lambda units, _: ((model(x) - y).square().mean(dim=(1, 2)), torch.arange(1, 7)))
    with pytest.raises(MismatchError, match=r"losses \(r,\) and the household of each"):
        moved(model, lambda units, _: ((model(x) - y).square().mean(dim=2), torch.arange(6)))
    with pytest.raises(ConvergenceError, match="loss became nan"):
        moved(model, by_household(model, x * np.nan, y))


def test_an_optimiser_of_other_parameters_is_refused() -> None:
    model = network()
    optimiser = torch.optim.SGD(model[0].parameters(), lr=1.0)
    with pytest.raises(InputError, match="expected the 4 parameters"):
        train_privately(model, by_household(model, *data()), N, optimiser, SgdOptions(1.0, 1.0, 1.0, 1))


@pytest.mark.parametrize(
    ("name", "value"),
    [("clip", 0.0), ("clip", -1.0), ("noise_multiplier", -0.1), ("sampling_rate", 0.0), ("sampling_rate", 1.1)],
)
def test_settings_that_promise_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        SgdOptions(**{"clip": 1.0, "noise_multiplier": 1.0, "sampling_rate": 0.5, "steps": 1, name: value})


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    model = network()
    with pytest.raises(InputError, match=r'pip install "unlearn\[private\]"'):
        moved(model, by_household(model, *data()))
