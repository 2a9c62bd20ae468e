"""The search for rows whose update is a seen one: its objective, in the coordinates of a prior, and its stages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.func import vmap
from tqdm import tqdm

from unlearn.attacks.inversion_prior import Prior
from unlearn.attacks.member_update import MemberUpdate
from unlearn.checks import FloatArray, require_choice, require_count, require_not_negative, require_positive

log = logging.getLogger(__name__)

#: Distance of a simulated update from the seen one, relative to its size.
DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "l2": lambda made, seen: ((made - seen) ** 2).sum() / (seen**2).sum(),
        "l1": lambda made, seen: (made - seen).abs().sum() / seen.abs().sum(),
        "cosine": lambda made, seen: 1 - nn.functional.cosine_similarity(made, seen, dim=0),
    }
)


#: Objective below which no other restart is searched: rows that fit so well are the true ones, or as good as.
_FOUND = 1e-6
#: Rounds of mirrored starts at most, and the share of the objective that a round must gain for another one.
_ROUNDS, _GAIN = 2, 0.02


@dataclass(frozen=True)
class InversionOptions:
    """How the search goes about it.

    Attributes:
        analytic: whether what algebra gives is taken first.
        distance: of updates, a name in `DISTANCES`.
        restarts: starting points, drawn from the prior and searched at once.
        spread: of starting points about the prior's mean, in its standard deviations.
        steps: of Adam in all restarts.
        learning_rate: of Adam, in standard deviations of the prior; it falls to 0 along a cosine.
        signed: whether Adam takes the signs of gradients alone.
        polished: restarts with the least objective that are searched further.
        mirrored: starts of further searches, each from what was found with one of its windows turned to its opposite,
            unless the first one found rows that fit.
        loosening: weights of the prior in a first search of each of these, from the strongest; a weak prior from the
            start leads to rows that fit the update in part and no load at all.
        iterations: of L-BFGS for each of these weights and for `prior`.
        newton: Levenberg-Marquardt steps after that, for the distance "l2".
        newton_size: unknown numbers above which there are none, for their cost grows with the cube.
        prior: weight of squared distance from the prior's mean; noise of known size raises it to what makes the result
            the most probable row.
        periodicity: weight of squared differences from one day to the next, in the prior's mean standard deviation.
        trend: weight of squared deviations of daily means from a straight line.
        bounds: weight of squared distance outside of the prior's quantiles.

    Raises:
        InputError: an unknown distance, or numbers out of range.
    """

    analytic: bool = True
    distance: str = "l2"
    restarts: int = 4
    spread: float = 0.3
    steps: int = 100
    learning_rate: float = 0.1
    signed: bool = False
    polished: int = 2
    mirrored: int = 4
    loosening: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6)
    iterations: int = 200
    newton: int = 15
    newton_size: int = 1000
    prior: float = 1e-10
    periodicity: float = 0.0
    trend: float = 0.0
    bounds: float = 0.0

    def __post_init__(self) -> None:
        require_choice("inversion.distance", self.distance, DISTANCES)
        for name in ("restarts", "polished"):
            require_count(f"inversion.{name}", getattr(self, name))
        for name in ("spread", "learning_rate"):
            require_positive(f"inversion.{name}", getattr(self, name))
        for name in (
            "mirrored",
            "steps",
            "iterations",
            "newton",
            "newton_size",
            "prior",
            "periodicity",
            "trend",
            "bounds",
        ):
            require_not_negative(f"inversion.{name}", getattr(self, name))
        for weight in self.loosening:
            require_not_negative("inversion.loosening", weight)


class Search:
    """The objective in the free coordinates of the prior, and how it is made small.

    Rows have coordinates z, shape (rows, K). The factor is lower triangular, so that a window fixes the first ones: of
    the windows that algebra gave these stay, and what is free are the others.
    """

    def __init__(
        self, made_of: MemberUpdate, seen: Tensor, prior: Prior, options: InversionOptions, windows: FloatArray
    ) -> None:
        self.made_of, self.options, self.shapes = made_of, options, made_of.shapes
        self.size = seen.norm()
        self.seen = seen / self.size
        k = prior.mean.shape[-1]
        self.mean, self.low, self.high = (
            torch.from_numpy(np.broadcast_to(side, (made_of.n_rows, k)).copy())
            for side in (prior.mean, prior.low, prior.high)
        )
        self.factor = torch.from_numpy(prior.factor.copy())
        self.unit = self.factor.square().sum(dim=1).mean().sqrt()
        # −2 σ² log p of rows given the update, up to a constant, with the seen update as unit.
        self.least = max(options.prior, float((made_of.rule.noise / self.size) ** 2))
        self.weight = max([self.least, *options.loosening[:1]])

        fixed = np.zeros((made_of.n_rows, k), dtype=bool)
        fixed[: len(windows), : self.shapes.n_window] = True
        self.free = torch.from_numpy(np.flatnonzero(~fixed))
        start = (
            windows.reshape(len(windows), self.shapes.n_window)
            - self.mean.numpy()[: len(windows), : self.shapes.n_window]
        )
        part = prior.factor[: self.shapes.n_window, : self.shapes.n_window]
        z = np.zeros(fixed.shape)
        z[fixed] = solve_triangular(part, start.T, lower=True).T.ravel()
        self.fixed = torch.from_numpy(z.ravel())

    def flat_rows(self, free: Tensor) -> Tensor:
        z = self.fixed.scatter(0, self.free, free).reshape(self.mean.shape)
        return self.mean + z @ self.factor.T

    def rows(self, free: Tensor) -> tuple[Tensor, Tensor]:
        inputs, outputs = self.flat_rows(free).split([self.shapes.n_window, self.shapes.n_target], dim=1)
        return inputs.reshape(-1, *self.shapes.window), outputs.reshape(-1, *self.shapes.target)

    def made(self, z: Tensor) -> Tensor:
        made: Tensor = self.made_of(*self.rows(z)) / self.size
        return made

    def penalties(self, z: Tensor) -> Tensor:
        """Numbers whose squares are added to the distance, shape (some,)."""
        options, (windows, targets) = self.options, self.rows(z)
        parts = [self.weight**0.5 * z]
        days = windows
        if self.shapes.target == self.shapes.window[:-1]:
            days = torch.cat([windows, targets[..., None]], dim=-1)
        if options.periodicity:
            parts.append(options.periodicity**0.5 * (days.diff(dim=-1) / self.unit).reshape(-1))
        if options.trend and days.shape[-1] > 2:
            means = days.reshape(len(days), -1, days.shape[-1]).mean(dim=1)
            # Second differences are 0 on a straight line.
            parts.append(options.trend**0.5 * (means.diff(n=2, dim=-1) / self.unit).reshape(-1))
        if options.bounds:
            rows = self.flat_rows(z)
            outside = (self.low - rows).clamp(min=0.0) + (rows - self.high).clamp(min=0.0)
            parts.append(options.bounds**0.5 * (outside / self.unit).reshape(-1))
        return torch.cat(parts)

    def objective(self, z: Tensor) -> Tensor:
        return DISTANCES[self.options.distance](self.made(z), self.seen) + (self.penalties(z) ** 2).sum()

    def run(self, random: np.random.Generator) -> Tensor:
        """The free coordinates with the least objective."""
        options = self.options
        z = torch.from_numpy(options.spread * random.standard_normal((options.restarts, len(self.free))))
        z = self.adam(z)
        with torch.no_grad():
            order = vmap(self.objective)(z).argsort()[: options.polished]
        best, least = z[order[0]], float("inf")
        for one in tqdm(order.tolist(), desc="inversion", leave=False, delay=2):
            found, value = self.polish(z[one], (*options.loosening, self.least))
            if value < least:
                best, least = found, value
            if value < _FOUND:
                return best
        # A mirrored row with the opposite residual makes the same gradients of weights, and other ones of biases alone:
        # a search that starts on the wrong side ends there. Each round may turn another row.
        for _ in range(_ROUNDS):
            found, value = self.turned(best)
            if value >= least * (1 - _GAIN):
                break
            best, least = found, value
            if value < _FOUND:
                break
        return best

    def turned(self, z: Tensor) -> tuple[Tensor, float]:
        """The best of a search from mirrored starts, and its objective."""
        starts = self.mirrored(z)
        best, least = z, float("inf")
        if not len(starts):
            return best, least
        with torch.no_grad():
            order = vmap(self.objective)(starts).argsort()[: int(self.options.mirrored)]
        for one in order.tolist():
            found, value = self.polish(starts[one], (self.least,))
            if value < least:
                best, least = found, value
            if value < _FOUND:
                break
        return best, least

    def polish(self, z: Tensor, weights: tuple[float, ...]) -> tuple[Tensor, float]:
        """Search on from one start with these weights of the prior in turn."""
        for weight in weights:
            self.weight = max(weight, self.least)
            z = self.lbfgs(z)
        z = self.newton(z)
        with torch.no_grad():
            value = float(self.objective(z))
        log.debug("inversion: objective %.3g", value)
        return z, value

    def mirrored(self, z: Tensor) -> Tensor:
        """Starts with one searched window in turn turned to its opposite, and its residual with it, shape (some, F)."""
        searched = np.unique(self.free.numpy() // self.mean.shape[1], return_counts=True)
        places = searched[0][searched[1] == self.mean.shape[1]]
        if not self.options.mirrored or not len(places):
            return z.new_empty((0, len(z)))
        with torch.no_grad():
            windows, targets = self.rows(z)
            made_of = self.made_of
            forecast, opposite = (
                made_of.predict(made_of.weights, given, made_of.known) for given in (windows, -windows)
            )
            turned = torch.cat([-windows.flatten(1), (opposite + forecast - targets).flatten(1)], dim=1)
            apart = torch.linalg.solve_triangular(self.factor, (turned - self.mean).T, upper=False).T
            now = self.fixed.scatter(0, self.free, z).reshape(self.mean.shape)
            starts = now.repeat(len(places), 1, 1)
            starts[torch.arange(len(places)), torch.from_numpy(places)] = apart[torch.from_numpy(places)]
        return starts.flatten(1)[:, self.free]

    def adam(self, z: Tensor) -> Tensor:
        options = self.options
        z = z.clone().requires_grad_(True)
        adam = torch.optim.Adam([z], lr=options.learning_rate)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(1, int(options.steps)))
        for _ in range(int(options.steps)):
            (gradient,) = torch.autograd.grad(vmap(self.objective)(z).sum(), z)
            z.grad = gradient.sign() if options.signed else gradient
            adam.step()
            decay.step()
        return z.detach()

    def lbfgs(self, z: Tensor) -> Tensor:
        if not self.options.iterations:
            return z

        def value(flat: FloatArray) -> tuple[float, FloatArray]:
            at = torch.from_numpy(flat.copy()).requires_grad_(True)
            objective = self.objective(at)
            (gradient,) = torch.autograd.grad(objective, at)
            return float(objective.detach()), gradient.numpy()

        limits = {"maxiter": int(self.options.iterations), "ftol": 1e-15, "gtol": 1e-12, "maxcor": 30}
        found = minimize(value, z.numpy(), jac=True, method="L-BFGS-B", options=limits)
        return torch.from_numpy(np.asarray(found.x, dtype=np.float64))

    def newton(self, z: Tensor) -> Tensor:
        """Levenberg-Marquardt: least squares of the update's mismatch and the penalties."""
        if self.options.distance != "l2" or z.numel() > self.options.newton_size:
            return z

        def residuals(at: Tensor) -> Tensor:
            return torch.cat([self.made(at) - self.seen, self.penalties(at)])

        flat, damping = z, 1e-3
        residual = residuals(flat)
        value = float(residual @ residual)
        for _ in range(int(self.options.newton)):
            jacobian = torch.func.jacfwd(residuals)(flat)
            normal, slope = jacobian.T @ jacobian, jacobian.T @ residual
            scale = float(normal.diagonal().mean())
            before = value
            for _ in range(10):
                step = torch.linalg.solve(normal + damping * scale * torch.eye(len(flat), dtype=torch.float64), -slope)
                tried = residuals(flat + step)
                if float(tried @ tried) < value:
                    flat, residual, value = flat + step, tried, float(tried @ tried)
                    damping = max(damping / 10, 1e-15)
                    break
                damping *= 5
            if value >= before * (1 - 1e-3):
                break
        return flat
