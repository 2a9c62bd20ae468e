"""What is refitted and predicted, and what is refused before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from unlearn.checks import require_each_once
from unlearn.errors import InputError
from unlearn.forecasters.specs import TrainingOptions


def require_conditions(name: str, conditions: Sequence[float]) -> None:
    """Refuse condition numbers that no damping gives."""
    if not conditions or not min(conditions) > 1:
        raise InputError(
            f"{name}: expected condition numbers above 1, such as [1e6, 1e4, 1e2], got {list(conditions)}."
        )


@dataclass(frozen=True)
class FullNetworkOptions:
    """Settings of refits and predictions.

    Attributes:
        architecture: "cnn" or "mixer".
        training: of every network.
        rows: drawn from the training rows; the last `training.validation_share` of them is only watched.
        seeds: of initial weights and batch order.
        shares: of the groups that are left out.
        repeats: random groups and time blocks of each share, beside the most helpful and harmful ones.
        singles: single rows of each kind: helpful, harmful, random.
        subsets: random halves for the linear datamodelling score.
        noise: refits on all rows of each kind: other order, other initial weights, nudged ones.
        blocks: blocks of test hours.
        conditions: condition numbers that damping gives the Gauss-Newton matrix.
        hessian_conditions: the same of the Hessian; above 1e3, the damped one of what remains is often indefinite.
        selection_condition: of the influence that picks helpful and harmful rows.
        warm_epochs: epochs that warm-started refits go on for.
        together: networks trained at once, and lost at most by an interrupt.
    """

    architecture: str = "cnn"
    training: TrainingOptions = field(default_factory=TrainingOptions)
    rows: int = 600
    seeds: Sequence[int] = (0, 1, 2)
    shares: Sequence[float] = (0.05, 0.1, 0.15, 0.25)
    repeats: int = 2
    singles: int = 8
    subsets: int = 20
    noise: int = 3
    blocks: int = 8
    conditions: Sequence[float] = (1e6, 1e4, 1e3, 1e2, 1e1)
    hessian_conditions: Sequence[float] = (1e3, 1e2)
    selection_condition: float = 1e3
    warm_epochs: int = 60
    together: int = field(default=32, compare=False)

    def __post_init__(self) -> None:
        for name in ("conditions", "hessian_conditions"):
            require_conditions(f"full_network.{name}", getattr(self, name))
        require_conditions("full_network.selection_condition", [self.selection_condition])
        require_each_once("full_network.seeds", self.seeds)
