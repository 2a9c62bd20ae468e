"""How a forecaster can be tuned on what remains: the protocol, its options by name; light, the solvers come later.

A method of one's own is a dataclass like those below, passed as an object; it needs no entry in `TUNINGS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from unlearn.checks import require_choice, require_count, require_fraction, require_not_negative, require_positive
from unlearn.errors import InputError
from unlearn.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from unlearn.unlearning.tuning.problem import TuningProblem


#: Parts of the weeks that hyper-parameters are chosen by.
FOLDS = 5


class Solved(NamedTuple):
    """What a method found on some rows.

    Attributes:
        head: V, shape (B, D).
        parameters: of the method, plain values.
        before: what the method minimises, at the least-squares head.
        after: the same at V.
        steps: of its solver.
        stationarity: how far from stationary V is, such as the Frank-Wolfe gap or the norm of a gradient.
        weights: of the rows of the problem, shape (n,), where the method re-weights them.
    """

    head: Tensor
    parameters: dict[str, Any]
    before: float
    after: float
    steps: int
    stationarity: dict[str, float]
    weights: Tensor | None = None


@runtime_checkable
class TuningMethod(Protocol):
    """One way to tune: a dataclass of plain options; whatever it computes, it computes from the problem's rows alone.

    A class may say that it follows the criterion's gradient (`needs_gradient`) or reads prices (`needs_prices`).
    """

    name: ClassVar[str]
    label: ClassVar[str]

    def candidates(self, problem: TuningProblem) -> Sequence[TuningMethod]:
        """The method with each value of its hyper-parameters to try, the most cautious first; itself if all are given.

        Of candidates that cannot be told apart on weeks left out, the first is taken.
        """
        ...

    def solve(self, problem: TuningProblem) -> Solved:
        """Tune on the problem's rows, all hyper-parameters given."""
        ...


@dataclass(frozen=True)
class Scale:
    """One factor: `ŷ -> k ŷ`, k at the least criterion of forecasts that left their own week out.

    Attributes:
        low: smallest factor that is tried.
        high: largest one.
    """

    name: ClassVar[str] = "scale"
    label: ClassVar[str] = "Scale"

    low: float = 0.5
    high: float = 2.0

    def __post_init__(self) -> None:
        require_positive("scale: low", self.low)
        if not self.low < self.high:
            raise InputError(f"scale: expected low below high, got {self.low} and {self.high}.")

    def candidates(self, problem: TuningProblem) -> list[Scale]:
        return [self]

    def solve(self, problem: TuningProblem) -> Solved:
        from unlearn.unlearning.tuning.bias import solve_scale

        return solve_scale(problem, self)


@dataclass(frozen=True)
class Trusting:
    """What keeps a solution near where it starts, unless the criterion gains by leaving.

    Attributes:
        trust: μ >= 0 in units of the criterion per p.u.²; None tries `relative_trusts`.
        steps: of L-BFGS at most.
        relative_trusts: values of μ that are tried, the most cautious first, in units of the criterion of
            least-squares forecasts over their mean squared error, summed over loads.
    """

    trust: float | None = None
    steps: int = 100
    relative_trusts: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.0)

    def __post_init__(self) -> None:
        for trust in (*self.relative_trusts, *(() if self.trust is None else (self.trust,))):
            require_not_negative("trust", trust)
        require_count("steps", self.steps)

    def candidates(self, problem: TuningProblem) -> list[Self]:
        if self.trust is not None:
            return [self]
        unit = problem.trust_unit()
        return [replace(self, trust=unit * relative) for relative in self.relative_trusts]


@dataclass(frozen=True)
class Affine(Trusting):
    """A factor and a constant per load: `ŷ_b -> a_b + k_b ŷ_b`, on forecasts that left their own week out.

    Attributes: see `Trusting`; it starts from the best `Scale`.
    """

    name: ClassVar[str] = "affine"
    label: ClassVar[str] = "Affine"
    needs_gradient: ClassVar[bool] = True

    def solve(self, problem: TuningProblem) -> Solved:
        from unlearn.unlearning.tuning.bias import solve_affine

        return solve_affine(problem, self)


#: What quantiles are of: each load by itself, or their total, where errors net through the network.
VARIANTS = ("loads", "total")


@dataclass(frozen=True)
class Quantile:
    """A head by pinball loss instead of squares: it forecasts the τ-quantile.

    Attributes:
        tau: τ in (0, 1); None searches `n_taus` values between 1/2 and the fractile of the prices,
            `(c_ls − λ) / (c_ls + c_gs)` with λ the marginal cost of generation.
        variant: one of `VARIANTS`; None tries both. "total" moves the loads' least-squares heads, in proportion to
            their mean loads, so that their total is the total's quantile.
        n_taus: values that are tried.
    """

    name: ClassVar[str] = "quantile"
    label: ClassVar[str] = "Quantile"

    tau: float | None = None
    variant: str | None = None
    n_taus: int = 7

    def __post_init__(self) -> None:
        if self.tau is not None:
            require_fraction("quantile: tau", self.tau)
        if self.variant is not None:
            require_choice("quantile: variant", self.variant, VARIANTS)
        require_count("quantile: n_taus", self.n_taus)

    @property
    def needs_prices(self) -> bool:
        """Without τ it is searched up to the fractile, which takes prices."""
        return self.tau is None

    def candidates(self, problem: TuningProblem) -> list[Quantile]:
        from unlearn.unlearning.tuning.quantile import taus

        tried = [self.tau] if self.tau is not None else taus(problem, self.n_taus)
        variants = VARIANTS if self.variant is None else (self.variant,)
        return [replace(self, tau=tau, variant=variant) for variant in variants for tau in tried]

    def solve(self, problem: TuningProblem) -> Solved:
        from unlearn.unlearning.tuning.quantile import solve_quantile

        return solve_quantile(problem, self)


def require_budgets(l1_budget: float, linf_budget: float) -> None:
    """Refuse budgets of weights that are out of range.

    Raises:
        InputError: λ₁ below 0, or λ_∞ outside of [0, 1].
    """
    require_not_negative("l1_budget", l1_budget)
    require_not_negative("linf_budget", linf_budget)
    if linf_budget > 1:
        raise InputError(
            f"linf_budget: expected at most 1, got {linf_budget}: weights would turn negative and the Hessian "
            "indefinite."
        )


@dataclass(frozen=True)
class Weights:
    """The paper's re-weighting (eq. 13) taken to a stationary point on what remains, by Frank-Wolfe.

    Attributes:
        l1_budget: λ₁ >= 0; None tries `l1_budgets`.
        linf_budget: λ_∞ in [0, 1].
        steps: at most.
        gap: Frank-Wolfe gap, relative to the criterion, at which it ends.
        l1_budgets: values of λ₁ that are tried.
    """

    name: ClassVar[str] = "weights"
    label: ClassVar[str] = "Weights"
    needs_gradient: ClassVar[bool] = True

    l1_budget: float | None = None
    linf_budget: float = 1.0
    steps: int = 40
    gap: float = 1e-4
    l1_budgets: tuple[float, ...] = (0.1, 0.25, 0.4, 0.6, 0.8)

    def __post_init__(self) -> None:
        for budget in (*self.l1_budgets, *(() if self.l1_budget is None else (self.l1_budget,))):
            require_budgets(budget, self.linf_budget)
        require_count("weights: steps", self.steps)
        require_not_negative("weights: gap", self.gap)

    def candidates(self, problem: TuningProblem) -> list[Weights]:
        tried = self.l1_budgets if self.l1_budget is None else (self.l1_budget,)
        return [replace(self, l1_budget=budget) for budget in tried]

    def solve(self, problem: TuningProblem) -> Solved:
        from unlearn.unlearning.tuning.weights import solve_weights

        return solve_weights(problem, self)


@dataclass(frozen=True)
class Head(Trusting):
    """The head itself on the criterion, held near the least-squares one: `min_θ C(θ) + μ/2 ‖θ − θ_U‖²_{G/n}`.

    Attributes: see `Trusting`; the norm is the mean squared change of forecasts, summed over loads.
    """

    name: ClassVar[str] = "head"
    label: ClassVar[str] = "Head"
    needs_gradient: ClassVar[bool] = True

    def solve(self, problem: TuningProblem) -> Solved:
        from unlearn.unlearning.tuning.head import solve_head

        return solve_head(problem, self)


#: Methods by name, the cheapest first.
TUNINGS: Registry[type[TuningMethod]] = Registry(
    "tuning", {own.name: own for own in (Scale, Affine, Quantile, Weights, Head)}
)
