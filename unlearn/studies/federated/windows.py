"""How much better than guessing an attacker rebuilds load windows from updates, of one member, a sum, or with noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from tqdm import tqdm

from unlearn.attacks.gradient_inversion import invert_update
from unlearn.attacks.inversion_errors import guesses_from, inversion_error
from unlearn.attacks.inversion_prior import prior_of, public_rows
from unlearn.attacks.inversion_search import InversionOptions
from unlearn.attacks.member_update import UpdateRule, WindowShapes, make_update
from unlearn.checks import FloatArray, as_floats, require_choice, require_count, require_not_negative, require_positive
from unlearn.errors import InputError


@dataclass(frozen=True)
class InversionSetting:
    """An update that is attacked.

    Attributes:
        rows: windows of each member.
        rule: how updates are made. Where it clips, `clip` counts in the norm of the median update of public rows, which
            is how a federation that knows public loads would choose it.
    """

    rows: int = 1
    rule: UpdateRule = field(default_factory=UpdateRule)

    def __post_init__(self) -> None:
        require_count("setting.rows", self.rows)


class MlpForecaster(nn.Module):
    """Flattened window, one hidden layer, the next day."""

    def __init__(self, window: tuple[int, ...], target: tuple[int, ...], hidden: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Linear(int(np.prod(window)), hidden)
        self.last = nn.Linear(hidden, int(np.prod(target)))
        self.target = target

    def forward(self, windows: Tensor) -> Tensor:
        made: Tensor = self.last(torch.tanh(self.hidden(windows.flatten(start_dim=1))))
        return made.reshape(-1, *self.target)


class ConvForecaster(nn.Module):
    """Convolutions over hours and days, shared by all days, then the next day."""

    def __init__(self, window: tuple[int, ...], target: tuple[int, ...], hidden: int = 32) -> None:
        super().__init__()
        channels = 8
        self.convolution = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.hidden = nn.Linear(channels * int(np.prod(window)), hidden)
        self.last = nn.Linear(hidden, int(np.prod(target)))
        self.target = target

    def forward(self, windows: Tensor) -> Tensor:
        mixed = torch.tanh(self.convolution(windows[:, None])).flatten(start_dim=1)
        made: Tensor = self.last(torch.tanh(self.hidden(mixed)))
        return made.reshape(-1, *self.target)


class GruForecaster(nn.Module):
    """A gated recurrent unit that reads one day after the other, then the next day."""

    def __init__(self, window: tuple[int, ...], target: tuple[int, ...], hidden: int = 32) -> None:
        super().__init__()
        hours = int(np.prod(window[:-1]))
        self.given, self.kept = nn.Linear(hours, 3 * hidden), nn.Linear(hidden, 3 * hidden)
        self.last = nn.Linear(hidden, int(np.prod(target)))
        self.target = target

    def forward(self, windows: Tensor) -> Tensor:
        days = windows.flatten(start_dim=1, end_dim=-2)
        state = torch.zeros_like(self.last.weight[0]).expand(len(days), -1)
        for day in range(days.shape[-1]):
            (r, z, n), (hr, hz, hn) = (part.chunk(3, dim=-1) for part in (self.given(days[..., day]), self.kept(state)))
            reset, update = torch.sigmoid(r + hr), torch.sigmoid(z + hz)
            state = (1 - update) * torch.tanh(n + reset * hn) + update * state
        made: Tensor = self.last(state)
        return made.reshape(-1, *self.target)


#: Small forecasters of windows to try attacks on, by name: of the shapes of window and target.
WINDOW_FORECASTERS: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]] = MappingProxyType(
    {"mlp": MlpForecaster, "cnn": ConvForecaster, "gru": GruForecaster}
)


def measure_inversion(
    windows: ArrayLike,
    targets: ArrayLike,
    public_windows: ArrayLike,
    public_targets: ArrayLike,
    settings: Mapping[str, InversionSetting],
    model: str | Callable[[tuple[int, ...], tuple[int, ...]], nn.Module] = "mlp",
    options: InversionOptions | None = None,
    n_trials: int = 3,
    trained_steps: int = 0,
    seed: int = 0,
) -> list[dict[str, object]]:
    """Attack updates of members in several settings, and measure the found windows against guesses.

    Members, attacker and forecaster share one scale: mean and standard deviation of the public loads. Errors are of the
    loads themselves.

    Args:
        windows: loads of members, each member its own rows, shape (M, R, *window), last axis days.
        targets: loads that are forecast, shape (M, R, *target).
        public_windows: loads of others, whom the attacker knows, shape (Q, *window).
        public_targets: shape (Q, *target).
        settings: what is attacked, by name.
        model: a name in `WINDOW_FORECASTERS`, or what makes a forecaster of the shapes of window and target.
        options: of the attack.
        n_trials: other members, rows, weights and noise for each setting.
        trained_steps: of Adam on public rows before members send their updates; 0 attacks the first round.
        seed: of the trials.

    Returns:
        One row for each setting and trial: `setting`, `trial`, `model`, `rows`, `members`, `noise_multiplier`,
        `epochs`; relative errors `error`, `target_error` and their mean guess's `guess_error`, `guess_target_error`;
        `better`, the share of the guess's error on windows that is removed; `lookalike_error`, and
        `persistence_error` where hours of windows and targets agree; `smape`, `correlation`, `objective`,
        `exact_windows`, `seconds`.

    Raises:
        InputError: shapes that do not fit, NaN, unknown names, or fewer members or rows than a setting needs.
    """
    inputs, outputs = as_floats("windows", windows), as_floats("targets", targets)
    if min(inputs.ndim, outputs.ndim) < 3 or inputs.shape[:2] != outputs.shape[:2]:
        raise InputError(
            f"windows, targets: expected shapes (M, R, ...) of as many members and rows, got {inputs.shape} and "
            f"{outputs.shape}."
        )
    window, target = inputs.shape[2:], outputs.shape[2:]
    make = WINDOW_FORECASTERS[require_choice("model", model, WINDOW_FORECASTERS)] if isinstance(model, str) else model
    for name, setting in settings.items():
        if setting.rule.members > len(inputs) or setting.rows > inputs.shape[1]:
            raise InputError(
                f"setting {name}: expected at least {setting.rule.members} members with {setting.rows} rows, got "
                f"{len(inputs)} with {inputs.shape[1]}."
            )
    require_count("n_trials", n_trials)
    require_not_negative("trained_steps", trained_steps)
    shapes = WindowShapes(1, window, target)
    public_rows(inputs.reshape(-1, *window), outputs.reshape(-1, *target), shapes, "members'")
    others = public_rows(public_windows, public_targets, shapes)
    scale = _Scale(float(others.mean()), require_positive("spread of public loads", float(others.std())))
    public = (scale.to(as_floats("public windows", public_windows)), scale.to(as_floats("public", public_targets)))
    prior = prior_of(*public, shapes)
    found = []
    work = [(name, setting, trial) for name, setting in settings.items() for trial in range(n_trials)]
    for name, setting, trial in tqdm(work, desc="inversion", leave=False, delay=2):
        random = np.random.default_rng([seed, trial])
        # The same network, and the same members and rows as far as they go, in each setting of a trial.
        network = _network(make, window, target, public, int(trained_steps), int(random.integers(2**31)))
        who = random.permutation(len(inputs))[: setting.rule.members]
        which = random.permutation(inputs.shape[1])[: setting.rows]
        truth = (inputs[who][:, which].reshape(-1, *window), outputs[who][:, which].reshape(-1, *target))
        noise_seed = int(np.random.default_rng([seed, trial, 1]).integers(2**31))
        rule = _clipped(setting, network, public, noise_seed)
        seen = make_update(network, scale.to(truth[0]), scale.to(truth[1]), rule, seed=noise_seed)
        start = time.perf_counter()
        inverted = invert_update(
            network, None, seen, WindowShapes(setting.rows, window, target),
            rule=rule, prior=prior, options=options, seed=trial,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        rows = (scale.back(inverted.windows), scale.back(inverted.targets))
        error = inversion_error(rows, truth, guesses_from((public_windows, public_targets), truth, trial))
        found.append(
            {
                "setting": name,
                "trial": trial,
                "model": model if isinstance(model, str) else type(network).__name__,
                "rows": setting.rows,
                "members": rule.members,
                "noise_multiplier": rule.noise_multiplier,
                "epochs": rule.epochs if rule.learning_rate is not None else 0,
                "error": float(error.windows.mean()),
                "target_error": float(error.targets.mean()),
                "guess_error": error.guesses["mean"][0],
                "guess_target_error": error.guesses["mean"][1],
                "better": error.better_than("mean")[0],
                "lookalike_error": error.guesses["lookalike"][0],
                "persistence_error": error.guesses.get("persistence", (float("nan"),))[0],
                "smape": float(error.smape.mean()),
                "correlation": float(error.correlation.mean()),
                "objective": inverted.objective,
                "exact_windows": inverted.exact_windows,
                "seconds": seconds,
            }
        )
    return found


@dataclass(frozen=True)
class _Scale:
    mean: float
    spread: float

    def to(self, loads: FloatArray) -> FloatArray:
        return (loads - self.mean) / self.spread

    def back(self, scaled: FloatArray) -> FloatArray:
        return scaled * self.spread + self.mean


def _network(
    make: Callable[[tuple[int, ...], tuple[int, ...]], nn.Module],
    window: tuple[int, ...],
    target: tuple[int, ...],
    public: tuple[FloatArray, FloatArray],
    steps: int,
    seed: int,
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make(window, target).to(torch.float64)
    inputs, outputs = (torch.from_numpy(part.copy()) for part in public)
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        adam.zero_grad()
        ((network(inputs) - outputs) ** 2).mean().backward()
        adam.step()
    return network


#: Public updates whose median norm is the unit of clipping.
_NORMS = 32


def _clipped(
    setting: InversionSetting, network: nn.Module, public: tuple[FloatArray, FloatArray], seed: int
) -> UpdateRule:
    rule = setting.rule
    if rule.clip is None:
        return rule
    plain = UpdateRule(learning_rate=rule.learning_rate, epochs=rule.epochs, batch_size=rule.batch_size)
    random = np.random.default_rng(seed)
    norms = []
    for _ in range(_NORMS):
        rows = random.integers(len(public[0]), size=setting.rows)
        update = make_update(network, public[0][rows], public[1][rows], plain)
        norms.append(np.sqrt(sum(float((part**2).sum()) for part in update)))
    return UpdateRule(
        rule.members, rule.learning_rate, rule.epochs, rule.batch_size,
        clip=rule.clip * float(np.median(norms)), noise_multiplier=rule.noise_multiplier,
    )  # fmt: skip
