"""What `full_network` refits and predicts."""

from __future__ import annotations

from dataclasses import dataclass, field

from unlearn.errors import InputError
from unlearn.forecasters.options import TrainingOptions


@dataclass(frozen=True)
class FullNetworkOptions:
    """What is refitted and predicted; see `unlearn.studies.full_network.measure`.

    Attributes:
        architecture: of the network.
        training: of the network and its refits.
        rows: drawn from the training rows; the last `training.validation_share` of them is only watched.
        seeds: of initial weights and orders.
        shares: of the groups that are left out.
        repeats: random groups and time blocks of each share, beside the most helpful and harmful ones.
        singles: single rows of each kind: helpful, harmful, random.
        subsets: random halves for the linear datamodelling score.
        noise: refits on all rows of each kind: other order, other initial weights, nudged ones.
        blocks: of test hours.
        conditions: condition numbers that damping gives the Gauss-Newton matrix.
        hessian_conditions: the same of the Hessian; above, that of what remains is often indefinite.
        selection_condition: of the influence that picks helpful and harmful rows.
        warm_epochs: epochs that warm-started refits go on for.
        together: networks trained at once, and lost at most by an interrupt.
        folder: where finished parts are kept and reused.
    """

    architecture: str = "cnn"
    training: TrainingOptions = field(default_factory=TrainingOptions)
    rows: int = 600
    seeds: tuple[int, ...] = (0, 1, 2)
    shares: tuple[float, ...] = (0.05, 0.1, 0.15, 0.25)
    repeats: int = 2
    singles: int = 8
    subsets: int = 20
    noise: int = 3
    blocks: int = 8
    conditions: tuple[float, ...] = (1e6, 1e4, 1e3, 1e2, 1e1)
    hessian_conditions: tuple[float, ...] = (1e3, 1e2)
    selection_condition: float = 1e3
    warm_epochs: int = 60
    together: int = field(default=32, compare=False)
    folder: str = field(default="results/full_network", compare=False)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise InputError(f"full_network.seeds: expected at least one seed, each once, got {list(self.seeds)}.")
