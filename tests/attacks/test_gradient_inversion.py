"""Rows rebuilt from updates against the rows that made them, gradients of the objective against differences."""

import numpy as np
import pytest
import torch
from torch import nn

from unlearn.attacks import (
    InversionOptions,
    Prior,
    UpdateRule,
    WindowShapes,
    guesses_from,
    inversion_error,
    invert_update,
    make_update,
    prior_of,
)
from unlearn.attacks.inversion_search import DISTANCES, Search
from unlearn.attacks.member_update import MemberUpdate, squared_error
from unlearn.errors import InputError

WINDOW, TARGET = (6, 3), (6,)
SHAPE = WindowShapes(1, WINDOW, TARGET)
FEW = InversionOptions(restarts=2, polished=1, steps=20, loosening=(), iterations=50, newton=5)


def loads(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Days that resemble each other, in spreads about their mean."""
    random = np.random.default_rng(seed)
    level, shape = random.normal(size=(n, 1, 1)), np.sin(np.arange(6.0))[None, :, None]
    days = level + shape + 0.5 * random.normal(size=(n, 6, 4))
    return days[..., :3], days[..., 3]


def network(hidden: int = 12, activation: type[nn.Module] = nn.Tanh, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Sequential(nn.Flatten(), nn.Linear(18, hidden), activation(), nn.Linear(hidden, 6))
    return layers.double()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
@pytest.mark.parametrize("learning_rate", [None, 0.3])
def test_one_row_is_exact_by_algebra(activation: type[nn.Module], learning_rate: float | None) -> None:
    windows, targets = loads(1)
    model, rule = network(activation=activation), UpdateRule(learning_rate=learning_rate)
    found = invert_update(model, None, make_update(model, windows, targets, rule), SHAPE, rule=rule)
    assert (found.method, found.exact_windows) == ("analytic", 1)
    np.testing.assert_allclose(found.windows, windows, atol=1e-8)
    np.testing.assert_allclose(found.targets, targets, atol=1e-8)
    assert found.objective < 1e-20


def test_an_update_is_the_gradient_of_the_mean_over_all_rows_of_all_members() -> None:
    windows, targets = loads(6)
    model = network()
    squared_error(model(torch.from_numpy(windows)), torch.from_numpy(targets)).backward()
    seen = make_update(model, windows, targets, UpdateRule(members=3))
    for part, parameter in zip(seen, model.parameters(), strict=True):
        assert parameter.grad is not None
        np.testing.assert_allclose(part, parameter.grad.numpy(), atol=1e-14)


def test_local_steps_are_those_of_an_optimiser() -> None:
    windows, targets = loads(4)
    model, start = network(), [p.detach().clone() for p in network().parameters()]
    descent = torch.optim.SGD(model.parameters(), lr=0.2)
    rule = UpdateRule(learning_rate=0.2, epochs=2, batch_size=2)
    seen = make_update(model, windows, targets, rule)
    for rows in (slice(0, 2), slice(2, 4)) * 2:
        descent.zero_grad()
        squared_error(model(torch.from_numpy(windows[rows])), torch.from_numpy(targets[rows])).backward()
        descent.step()
    for part, now, before in zip(seen, model.parameters(), start, strict=True):
        np.testing.assert_allclose(part, (now - before).detach().numpy(), atol=1e-14)


def test_a_clipped_update_with_noise_has_its_norm_and_spread() -> None:
    windows, targets = loads(2)
    flat = np.concatenate([p.ravel() for p in make_update(network(), windows, targets, UpdateRule(clip=0.01))])
    np.testing.assert_allclose(np.linalg.norm(flat), 0.01)
    model = network(hidden=400)
    plain, noisy = (
        np.concatenate([p.ravel() for p in make_update(model, windows, targets, UpdateRule(2, clip=2.0, **more))])
        for more in ({}, {"noise_multiplier": 0.5})
    )
    # 10 006 numbers of standard deviation 0.5 * 2 / 2: 6 standard errors of it are 4.3 %.
    assert np.std(noisy - plain) == pytest.approx(0.5, rel=0.045)


@pytest.mark.parametrize(
    "rule", [UpdateRule(learning_rate=0.1, epochs=3), UpdateRule(learning_rate=0.1, epochs=2, clip=0.05)]
)
def test_the_window_of_one_row_is_exact_whatever_local_steps_and_clipping_did(rule: UpdateRule) -> None:
    windows, targets = loads(1)
    model = network()
    found = invert_update(
        model, None, make_update(model, windows, targets, rule), SHAPE, rule=rule, public=loads(60, 1)
    )
    assert (found.method, found.exact_windows) == ("search", 1)
    np.testing.assert_allclose(found.windows, windows, atol=1e-8)
    if rule.clip is None:
        np.testing.assert_allclose(found.targets, targets, atol=1e-3)


def test_a_row_that_neurons_see_alone_is_found_in_a_batch() -> None:
    windows, targets = loads(2)
    windows[1] = -windows[0]
    model = network(activation=nn.ReLU)
    found = invert_update(
        model, None, make_update(model, windows, targets), WindowShapes(2, WINDOW, TARGET), public=loads(60, 1)
    )
    # Without biases of note each neuron is active for one of two opposite windows.
    assert found.exact_windows == 2
    error = inversion_error((found.windows, found.targets), (windows, targets))
    assert max(error.windows.max(), error.targets.max()) < 1e-6


class WithCalendar(nn.Module):
    """A forecaster that sees public features beside the window."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.last = nn.Linear(18 + 2, 10, dtype=torch.float64), nn.Linear(10, 6, dtype=torch.float64)

    def forward(self, windows: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        seen = torch.cat([known, windows.flatten(start_dim=1)], dim=1)
        made: torch.Tensor = self.last(torch.tanh(self.hidden(seen)))
        return made


def test_two_rows_with_known_features_are_exact() -> None:
    windows, targets = loads(2)
    known = np.array([[0.0, 1.0], [1.0, -1.0]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = WithCalendar()
    seen, shapes = make_update(model, windows, targets, known=known), WindowShapes(2, WINDOW, TARGET)
    found = invert_update(model, None, seen, shapes, known=known, public=loads(60, 1))
    np.testing.assert_allclose(found.windows, windows, atol=1e-2)
    np.testing.assert_allclose(found.targets, targets, atol=1e-2)
    # Known features say which row is which: no match is needed.
    assert found.objective < 1e-8


def test_the_sum_over_members_is_a_batch_of_all_their_rows() -> None:
    windows, targets = loads(3)
    model, rule = network(hidden=16), UpdateRule(members=3)
    found = invert_update(
        model, None, make_update(model, windows, targets, rule), SHAPE, rule=rule, public=loads(60, 1),
        options=InversionOptions(steps=30, polished=1, loosening=(1e-3, 1e-5)),
    )  # fmt: skip
    error = inversion_error((found.windows, found.targets), (windows, targets))
    assert max(error.windows.max(), error.targets.max()) < 1e-2


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("rule", [UpdateRule(members=2), UpdateRule(learning_rate=0.1, epochs=2, clip=0.1)])
def test_gradients_of_the_objective_are_those_of_differences(distance: str, rule: UpdateRule) -> None:
    shapes = WindowShapes(2, WINDOW, TARGET)
    windows, targets = loads(2 * rule.members)
    model = network()
    made_of = MemberUpdate(model, squared_error, shapes, rule)
    seen = made_of.checked(make_update(model, windows, targets, rule))
    options = InversionOptions(distance=distance, periodicity=0.1, trend=0.2, bounds=0.3, prior=0.01)
    prior = prior_of(*loads(60, 1), SHAPE, (0.4, 0.6))
    search = Search(made_of, seen, prior, options, windows[:1])
    random = np.random.default_rng(0)
    z, way = (torch.from_numpy(random.normal(size=len(search.free))) for _ in range(2))
    slope = float(torch.func.grad(search.objective)(z) @ way)
    step = 1e-5
    difference = float(search.objective(z + step * way) - search.objective(z - step * way)) / (2 * step)
    assert slope == pytest.approx(difference, rel=1e-5)
    # Windows that are known stay.
    np.testing.assert_allclose(search.rows(z)[0][:1].numpy(), windows[:1], atol=1e-12)


@pytest.mark.parametrize("options", [InversionOptions(distance="l1", signed=True), InversionOptions(distance="cosine")])
def test_other_distances_come_near_as_well(options: InversionOptions) -> None:
    windows, targets = loads(1)
    model = network()
    few = {"restarts": 2, "polished": 1, "steps": 50, "loosening": (1e-3,), "iterations": 60}
    options = InversionOptions(**{**vars(options), **few, "analytic": False, "periodicity": 1e-6, "bounds": 1e-6})
    found = invert_update(
        model, None, make_update(model, windows, targets), SHAPE, public=loads(60, 1), options=options
    )
    error = inversion_error(
        (found.windows, found.targets), (windows, targets), guesses_from(loads(60, 1), (windows, targets))
    )
    assert error.better_than("mean")[0] > 0.5


def test_noise_alone_tells_no_more_than_a_guess() -> None:
    """What an update of another row with much noise gives is the prior's mean, up to a share of its spread."""
    public, truth = loads(200, 1), loads(8, 2)
    rule = UpdateRule(clip=1.0, noise_multiplier=30.0)
    model, better = network(), []
    for row in range(8):
        one = (truth[0][row : row + 1], truth[1][row : row + 1])
        seen = make_update(model, *loads(1, 3 + row), rule, seed=row)
        found = invert_update(model, None, seen, SHAPE, rule=rule, public=public, options=FEW, seed=row)
        error = inversion_error((found.windows, found.targets), one, guesses_from(public, one))
        better.append(error.better_than("mean"))
    assert np.abs(np.mean(better, axis=0)).max() < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda seen: seen[:-1], "expected 4 arrays"),
        (lambda seen: [seen[0].T, *seen[1:]], "expected shape"),
        (lambda seen: [seen[0] * np.nan, *seen[1:]], "finite"),
        (lambda seen: [0 * part for part in seen], "differs from zero"),
    ],
)
def test_updates_that_fit_no_model_are_refused(change: object, message: str) -> None:
    model = network()
    seen = make_update(model, *loads(1))
    with pytest.raises(InputError, match=message):
        invert_update(model, None, change(seen), SHAPE)  # type: ignore[operator]


def test_what_does_not_fit_is_refused() -> None:
    model, (windows, targets) = network(), loads(2)
    seen = make_update(model, windows, targets)
    with pytest.raises(InputError, match="public windows"):
        invert_update(model, None, seen, SHAPE, public=(np.ones((9, 5, 3)), np.ones((9, 6))))
    with pytest.raises(InputError, match=r"prior\.mean"):
        invert_update(
            model,
            None,
            seen,
            SHAPE,
            prior=Prior(np.zeros(2), np.eye(2), np.zeros(2), np.ones(2)),
        )
    with pytest.raises(InputError, match="known"):
        invert_update(model, None, seen, WindowShapes(2, WINDOW, TARGET), known=np.ones((3, 1)))
    with pytest.raises(InputError, match="as many rows"):
        make_update(model, windows, targets[:1])
    with pytest.raises(InputError, match="as many rows"):
        make_update(model, windows, targets, UpdateRule(members=3))
    with pytest.raises(InputError, match="windows"):
        make_update(model, windows * np.nan, targets)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UpdateRule(epochs=2), "learning_rate"),
        (lambda: UpdateRule(noise_multiplier=1.0), "clip"),
        (lambda: UpdateRule(members=0), "members"),
        (lambda: WindowShapes(1, (), (6,)), "window"),
        (lambda: WindowShapes(0, (6, 3), (6,)), "rows"),
        (lambda: InversionOptions(distance="l3"), "distance"),
        (lambda: InversionOptions(restarts=0), "restarts"),
        (lambda: InversionOptions(prior=-1.0), "prior"),
        (lambda: InversionOptions(loosening=(1.0, -1.0)), "loosening"),
    ],
)
def test_options_out_of_range_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
