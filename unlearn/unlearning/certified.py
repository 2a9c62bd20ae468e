"""`CertifiedHead`: certified removal from heads whose loss is convex but not quadratic (Guo et al. 2019).

The loss of each of B outputs is `L(w) = Σ_i ℓ(w·x_i, y_i) + l2/2 ‖w‖² + b·w`, with rows of at most norm 1 and a secret
b ~ N(0, σ² I), drawn once (objective perturbation). To remove rows U and keep R, one Newton step

    w⁻ = w + v,  v = H_R⁻¹ Σ_U ∇ℓ_i(w),  H_R = Σ_R ℓ''_i x_i x_i' + l2 I at w.

Where ℓ'' is not constant the step leaves a gradient. With `∇L_R` the gradient without U, `∇L_R(w) = r − Σ_U ∇ℓ_i(w)`, r
being what an earlier step or the solver has left, and `∇L_R(w + v) = r + ∫₀¹ (H_R(w + t v) − H_R(w)) v dt`. The
integrand is `Σ_R x_i (ℓ''(z_i + t s_i) − ℓ''(z_i)) s_i` with `s = X_R v`, and the bracket at most `γ t |s_i|`. So

    ‖∇L_R(w⁻)‖ ≤ ‖r‖ + γ/2 · ‖X_R‖₂ · √(Σ_R s_i⁴) ≤ ‖r‖ + γ/2 · ‖X_R‖₂ ‖v‖₂ ‖X_R v‖₂,

the right-hand side being half of corollary 1 of the paper, for ‖x_i‖ ≤ 1 gives |s_i| ≤ ‖v‖. The one in the middle is
used here. l2 belongs to the sum: it does not change with the number of rows, and has no part in the residual.

The residual shifts what b would have to be for w⁻ to be the exact minimiser. By theorem 3 of the paper, as long as the
bound, summed up over removals and over outputs as one vector, is at most the budget `σ ε / c` with
`c = √(2 ln(1.5/δ))`, removal and retraining cannot be told apart but with (ε, δ).

Where the budget does not suffice, the head is fitted anew to what remains, with the b that it has: the very model that
fitting anew would give, and b keeps its law. Fresh noise would not do there. The bound is computed at a model that b
has shaped, so models that were not fitted anew would be those whose b has a small bound, and an auditor who knows the
data would see it. Fresh noise is for retrains at times that were fixed beforehand.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import (
    FloatArray,
    IntArray,
    as_floats,
    require_finite,
    require_not_negative,
    require_positive,
    require_rows,
    require_shape,
    short_repr,
)
from unlearn.dp.noise import Noise, NoiseSource, clipped, noise_source
from unlearn.errors import BudgetError, InputError
from unlearn.unlearning.certified_budget import LIMITATIONS, as_samples, noise_ratio, require_promise, sigma_for
from unlearn.unlearning.certified_losses import CERTIFIED_LOSSES, CertifiedLoss
from unlearn.unlearning.certified_newton import gradient, minimise, removal_step

_LOG = logging.getLogger(__name__)


@short_repr
@dataclass(frozen=True, eq=False)
class CertifiedHead:
    """A head that certifies what it forgets; `CertifiedHead.fit` makes one.

    It keeps the rows that remain, which the next removal needs, and nothing of those that were removed.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> design = random.normal(size=(500, 3))
    >>> target = (design @ [[1.0], [2.0], [0.0]] > 0).astype(float)
    >>> head = CertifiedHead.fit(design, target, "logistic", l2=1.0, sigma=1.0)
    >>> left = head.forget([3, 14])
    >>> left.certificate()["removed"], len(left.rows), left.spent < left.budget
    (2, 498, True)

    Attributes:
        weights: shape (B, D).
        perturbation: b, shape (B, D); secret.
        design: X of the rows that remain, clipped to norm 1, shape (n, D).
        target: Y of them, as the loss takes it, shape (n, B).
        rows: which rows of `fit` these are, sorted, shape (n,).
        loss: ℓ.
        l2: regulariser of the sum, > 0.
        epsilon: ε that is promised, at most 1: beyond, the formula of the noise is not proven.
        delta: δ that is promised.
        sigma: standard deviation of b.
        residual: bound of the gradient's norm by output, shape (B,).
        n_fitted: rows that `fit` was given.
        n_clipped: rows among them that were longer than 1.
        requests: removals since the last fit.
        solver_residual: what the fit itself has left of the gradient.
        noise: "os", or "simulated", which protects nobody.
    """

    weights: FloatArray
    perturbation: FloatArray = field(repr=False)
    design: FloatArray
    target: FloatArray
    rows: IntArray
    loss: CertifiedLoss
    l2: float
    epsilon: float
    delta: float
    sigma: float
    residual: FloatArray = field(repr=False)
    n_fitted: int
    n_clipped: int
    requests: int = 0
    solver_residual: float = 0.0
    noise: str = "os"

    @classmethod
    def fit(
        cls,
        design: ArrayLike,
        target: ArrayLike,
        loss: str | CertifiedLoss = "pseudo_huber",
        *,
        l2: float,
        epsilon: float = 1.0,
        delta: float = 1e-5,
        sigma: float | None = None,
        noise: Noise | NoiseSource = "os",
    ) -> CertifiedHead:
        """Fit a head to perturbed losses, by Newton's method.

        Args:
            design: features φ, an intercept among them if there is to be one, shape (n, D). Rows longer than 1 are
                scaled down to norm 1; scale all by a constant first, so that few are. Targets stay as they are.
            target: shape (n, B).
            loss: a name of `CERTIFIED_LOSSES`, or a loss.
            l2: regulariser of the sum, > 0.
            epsilon: ε to promise, at most 1.
            delta: δ to promise.
            sigma: standard deviation of the noise; None takes `sigma_for` one in a hundred rows. It is chosen from the
                data then; to be strict take one that was found on other data. Compare forecasts with those at 0, which
                is no noise and certifies nothing: a narrow loss with many columns can need more than it bears.
            noise: "os", or a source that `noise_source` gave for the data; a seed is refused.

        Raises:
            InputError: unusable numbers, shapes that do not fit, NaN.
            ConvergenceError: no minimiser was found.
            SingularHessianError: l2 is so small that a Hessian is singular.
        """
        X, Y = as_samples(design, target)
        chosen: CertifiedLoss = CERTIFIED_LOSSES.make(loss)
        require_promise(epsilon, delta)
        require_positive("l2", l2)
        source = noise_source(noise)
        if sigma is None:
            sigma = sigma_for(X, Y, chosen, l2=l2, epsilon=epsilon, delta=delta, n_removals=max(1, len(X) // 100))
        require_not_negative("sigma", sigma)
        b = _drawn(sigma, (Y.shape[1], X.shape[1]), source)
        short, own = clipped(X, 1.0), chosen.targets(Y)
        W, left = minimise(short, own, chosen, l2, b)
        return cls(
            weights=W,
            perturbation=b,
            design=short,
            target=own,
            rows=np.arange(len(X), dtype=np.int64),
            loss=chosen,
            l2=float(l2),
            epsilon=float(epsilon),
            delta=float(delta),
            sigma=float(sigma),
            residual=left,
            n_fitted=len(X),
            n_clipped=int((np.linalg.norm(X, axis=1) > 1).sum()),
            solver_residual=float(np.linalg.norm(left)),
            noise=source.kind,
        )

    @property
    def budget(self) -> float:
        """What the bound of the residual may be: `σ ε / c`."""
        return self.sigma * self.epsilon / noise_ratio(self.delta)

    @property
    def spent(self) -> float:
        """Bound of the residual gradient's norm, over all outputs together."""
        return float(np.linalg.norm(self.residual))

    @property
    def remaining_budget(self) -> float:
        """What is left of the budget."""
        return self.budget - self.spent

    @property
    def retrain_due(self) -> bool:
        """Whether what is left is less than the mean removal since the last fit has cost."""
        mean = (self.spent - self.solver_residual) / self.requests if self.requests else 0.0
        return self.remaining_budget <= mean

    def cost_of(self, rows: ArrayLike) -> float:
        """How much of the budget the removal of some rows would take; nothing is removed."""
        return self.stepped(rows).spent - self.spent

    def stepped(self, rows: ArrayLike) -> CertifiedHead:
        """The head after the Newton step, whatever the budget says; `forget` asks the budget.

        Raises:
            InputError: see `forget`.
        """
        return self._stepped(self._positions(rows))

    def forget(self, rows: ArrayLike, *, retrain: bool = False) -> CertifiedHead:
        """Remove rows by one Newton step.

        Args:
            rows: numbers of rows as they were given to `fit`, or a mask over all of these.
            retrain: fit anew, with the same noise, where the budget does not suffice.

        Returns:
            A head without them; this one still knows them, and is to be destroyed.

        Raises:
            InputError: rows that are none, all that are left, unknown, repeated, or removed before.
            BudgetError: the budget does not suffice; nothing has been removed.
        """
        positions = self._positions(rows)
        after = self._stepped(positions)
        if after.spent <= self.budget:
            return after
        if retrain:
            _LOG.info("fitted anew: the removal of %d rows would exceed the budget", len(positions))
            return self._kept(positions).retrained()
        raise BudgetError(
            f"rows: expected a removal within the budget, got {len(positions)} rows that bring the bound of the "
            f"residual from {self.spent:.3g} to {after.spent:.3g}, above {self.budget:.3g}. A retrain is due: "
            "pass retrain=True. Nothing was removed."
        )

    def retrained(self, noise: Noise | NoiseSource | None = None) -> CertifiedHead:
        """Fit anew to the rows that remain; nothing of the budget is spent then.

        Args:
            noise: None keeps the noise of this head, which is right at any time. "os", or a source, draws fresh noise,
                which is right at times that were fixed beforehand, not where the budget has decided.

        Raises:
            InputError: a seed.
            ConvergenceError: no minimiser was found.
        """
        source = None if noise is None else noise_source(noise)
        b = self.perturbation if source is None else _drawn(self.sigma, self.weights.shape, source)
        W, left = minimise(self.design, self.target, self.loss, self.l2, b)
        return replace(
            self,
            weights=W,
            perturbation=b,
            residual=left,
            requests=0,
            solver_residual=float(np.linalg.norm(left)),
            noise=self.noise if source is None else source.kind,
        )

    def predict(self, design: ArrayLike) -> FloatArray:
        """Forecasts `w·x` of rows clipped as in training, shape (n, B); of the logistic loss the log odds.

        Raises:
            InputError: wrong shape or NaN.
        """
        X = as_floats("design", design, ndim=2)
        require_shape("design", X, (None, self.weights.shape[1]))
        require_finite("design", X)
        return clipped(X, 1.0) @ self.weights.T

    def gradient(self) -> FloatArray:
        """The perturbed loss's gradient on the rows that remain, shape (B, D): what `spent` bounds. Secret."""
        return gradient(self.weights, self.design, self.target, self.loss, self.l2, self.perturbation)

    def certificate(self) -> dict[str, Any]:
        """What can be said of this model, as plain values, without b, weights or rows."""
        return {
            "guarantee": "certified",
            "method": "certified removal (Guo et al. 2019): objective perturbation and one Newton step per request",
            "epsilon": self.epsilon,
            "delta": self.delta,
            "epsilon_spent": self.spent * noise_ratio(self.delta) / self.sigma if self.sigma else None,
            "sigma": self.sigma,
            "residual_bound": self.spent,
            "budget": self.budget,
            "retrain_due": self.retrain_due,
            "requests": self.requests,
            "removed": self.n_fitted - len(self.rows),
            "remaining": len(self.rows),
            "loss": {**vars(self.loss), "name": self.loss.name},
            "lipschitz": self.loss.lipschitz,
            "l2": self.l2,
            "clipped": self.n_clipped,
            "noise": self.noise if self.noise == "os" else f"{self.noise}: protects nobody",
            "limitations": list(LIMITATIONS),
        }

    def to_tensors(self) -> dict[str, Tensor]:
        """All arrays by name; with `settings` everything that a file needs. Secret."""
        return {name: torch.from_numpy(np.ascontiguousarray(getattr(self, name))) for name in _ARRAYS}

    def settings(self) -> dict[str, Any]:
        """All that is no array, as JSON."""
        kept = {name: getattr(self, name) for name in _SETTINGS}
        return {**kept, "loss": {**vars(self.loss), "name": self.loss.name}}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> CertifiedHead:
        """Take back what `to_tensors` and `settings` gave.

        Raises:
            InputError: tensors or settings that are missing or do not fit.
        """
        missing = [name for name in (*_ARRAYS, *_SETTINGS, "loss") if name not in {*tensors, *settings}]
        if missing:
            raise InputError(f"certified head: expected {', '.join(missing)}, got none. Save the head again.")
        arrays: dict[str, Any] = {name: tensors[name].numpy() for name in _ARRAYS}
        n, (B, D) = len(arrays["rows"]), arrays["weights"].shape
        shapes = {"perturbation": (B, D), "design": (n, D), "target": (n, B), "residual": (B,)}
        for name, shape in shapes.items():
            require_shape(f"certified head {name}", arrays[name], shape)
            require_finite(f"certified head {name}", arrays[name])
        own = dict(settings["loss"])
        loss = CERTIFIED_LOSSES[own.pop("name")](**own)
        kept = {name: settings[name] for name in _SETTINGS}
        return cls(**arrays, **kept, loss=loss)

    def _positions(self, rows: ArrayLike) -> IntArray:
        """Where rows stand among those that remain."""
        asked = require_rows("rows", rows, self.n_fitted)
        gone = ~np.isin(asked, self.rows)
        if not len(asked) or gone.any():
            got = f"{int(gone.sum())} that were removed before" if gone.any() else "none"
            raise InputError(f"rows: expected rows that remain, got {got}; nothing to remove there.")
        if len(asked) == len(self.rows):
            raise InputError(
                f"rows: expected some rows to remain, got all {len(asked)} that are left. Discard the head."
            )
        return np.searchsorted(self.rows, asked).astype(np.int64)

    def _kept(self, positions: IntArray) -> CertifiedHead:
        """The same weights, without some rows."""
        kept = np.setdiff1d(np.arange(len(self.rows)), positions)
        return replace(self, design=self.design[kept], target=self.target[kept], rows=self.rows[kept])

    def _stepped(self, positions: IntArray) -> CertifiedHead:
        """The head after the Newton step, whatever the budget says."""
        X, Y = self.design[positions], self.target[positions]
        removed = self.loss.slope(X @ self.weights.T, Y).T @ X
        rest = self._kept(positions)
        step, bound = removal_step(self.weights, rest.design, rest.target, self.loss, self.l2, removed)
        return replace(
            rest,
            weights=self.weights + step,
            residual=self.residual + bound,
            requests=self.requests + 1,
        )


_ARRAYS = ("weights", "perturbation", "design", "target", "rows", "residual")
_SETTINGS = ("l2", "epsilon", "delta", "sigma", "n_fitted", "n_clipped", "requests", "solver_residual", "noise")


def _drawn(sigma: float, shape: tuple[int, ...], source: NoiseSource) -> FloatArray:
    """b, shape (B, D)."""
    return sigma * source.normals(math.prod(shape)).reshape(shape)
