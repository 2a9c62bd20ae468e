"""A whole network on some training rows: fitting it again without groups of them, its forecasts, its curvature.

Every parameter is learnt from the customers' rows, so no part of the forecaster is unlearnt in closed form; the head
on the same network's frozen features is the exact counterpart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from unlearn.checks import FloatArray, IntArray, require_finite, require_positive, short_repr
from unlearn.data import LoadDataset, StandardScaler
from unlearn.data.features import CALENDAR_NAMES
from unlearn.errors import InputError
from unlearn.forecasters import HeadObjective, TrainingOptions, train_ensemble
from unlearn.forecasters.extractors import N_FEATURES
from unlearn.forecasters.specs import network_named
from unlearn.forecasters.training import n_watched
from unlearn.influence import ModuleObjective
from unlearn.influence.flat import SWAPPED
from unlearn.unlearning import select


@short_repr
@dataclass(frozen=True, eq=False)
class NetworkProblem:
    """Rows that a network is trained on and judged by; inputs and targets standardised with the drawn rows.

    Attributes:
        architecture: "cnn" or "mixer".
        training: settings of every fit.
        inputs: drawn training rows in time order, shape (n, B, F); the last `n − n_trained` are only watched.
        targets: shape (n, B).
        judged: inputs and targets of "validation" and "test" hours.
        std_pu: standard deviation of each load, the unit of the targets, shape (B,).
    """

    architecture: str
    training: TrainingOptions
    inputs: Tensor
    targets: Tensor
    judged: dict[str, tuple[Tensor, Tensor]]
    std_pu: Tensor

    def __post_init__(self) -> None:
        _ = self._template  # drawn here: inside a vmapped function nothing random may be

    @classmethod
    def draw(
        cls, dataset: LoadDataset, n_rows: int, architecture: str, training: TrainingOptions, seed: int = 0
    ) -> NetworkProblem:
        """Draw rows from the training rows of a data set.

        Raises:
            InputError: more rows than there are, or a split without validation rows.
        """
        network_named(architecture)
        split = dataset.split
        if not 2 <= require_positive("full_network.rows", n_rows) <= len(split.train):
            raise InputError(f"full_network.rows: expected 2 to {len(split.train)} training rows, got {n_rows}.")
        if not len(split.validation):
            raise InputError("full network: expected validation rows to select groups by; use protocol=fair.")
        rows = np.sort(np.random.default_rng(seed).choice(split.train, n_rows, replace=False))
        scaler = StandardScaler.fit(dataset.features[rows], skip=len(CALENDAR_NAMES))
        target_scaler = StandardScaler.fit(dataset.load_pu[rows])

        def scaled(chosen: IntArray) -> tuple[Tensor, Tensor]:
            features, load_pu = dataset.features[chosen], dataset.load_pu[chosen]
            return scaler(torch.from_numpy(features)), target_scaler(torch.from_numpy(load_pu))

        judged = {"validation": scaled(split.validation), "test": scaled(split.test)}
        return cls(architecture, training, *scaled(rows), judged, target_scaler.std)

    @property
    def n_trained(self) -> int:
        """Rows that gradients come from; the others are watched for early stopping and never removed."""
        return len(self.inputs) - n_watched(len(self.inputs), self.training)

    def network(self, seed: int) -> nn.Sequential:
        """Extractor and linear layer with the initial weights of a seed, float32."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            extractor = network_named(self.architecture).extractor(*self.inputs.shape[1:])
            return nn.Sequential(extractor, nn.Linear(N_FEATURES, self.targets.shape[1]))

    @cached_property
    def _template(self) -> nn.Sequential:
        """The architecture; its own parameters are never used."""
        return self.network(0)

    def initial(self, seeds: Sequence[int]) -> Tensor:
        """Initial parameters of each seed, shape (M, P)."""
        flat = [nn.utils.parameters_to_vector(self.network(seed).parameters()).detach() for seed in seeds]
        return torch.stack(flat).double()

    def fit(self, start: Tensor, keep: Tensor, seeds: Sequence[int], training: TrainingOptions | None = None) -> Tensor:
        """Train M networks on the kept rows, as published in float32.

        Args:
            start: parameters to start from, shape (M, P).
            keep: whether each trained row is used, shape (M, n_trained), boolean.
            seeds: seed of each batch order, M of them.
            training: other settings, under which every epoch is run and the last state is kept; None means
                the settings of the problem, with early stopping.

        Returns:
            Parameters, shape (M, P), float64.
        """
        trained = train_ensemble(
            self._template,
            self.unflatten(start.float()),
            self.inputs.float(),
            self.targets.float(),
            keep.float(),
            training or self.training,
            seeds,
            "best" if training is None else "last",
        )
        return torch.cat([value.reshape(len(start), -1) for value in trained.states.values()], dim=1).double()

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Parameters by name, (..., P) -> (..., *shape)."""
        named = dict(self._template.named_parameters())
        pieces = theta.split([value.numel() for value in named.values()], dim=-1)
        return {
            name: piece.reshape(*theta.shape[:-1], *value.shape)
            for (name, value), piece in zip(named.items(), pieces, strict=True)
        }

    def outputs(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Standardised forecasts of one parameter vector, (P,) and (n, B, F) -> (n, B)."""
        with SWAPPED:
            return functional_call(self._template, self.unflatten(theta), (inputs,))

    def forecasts(self, thetas: Tensor, split: str = "test") -> Tensor:
        """Forecasts of M parameter vectors (M, P), standardised, shape (M, hours, B)."""
        with torch.no_grad():
            return torch.stack([self.outputs(theta, self.judged[split][0]) for theta in thetas])

    def hourly_mse(self, outputs: Tensor, split: str = "test") -> Tensor:
        """Squared error in p.u.² averaged over loads, (..., hours, B) -> (..., hours)."""
        return ((outputs - self.judged[split][1]) * self.std_pu).square().mean(dim=-1)

    def objective(self) -> ModuleObjective:
        """The training problem of all parameters over the trained rows."""
        return ModuleObjective(self.network(0), self.inputs[: self.n_trained], self.targets[: self.n_trained])

    def head(self, theta: Tensor) -> tuple[HeadObjective, Tensor]:
        """Least squares on the frozen features of a network, and its design on the test hours (hours, D)."""
        extractor = self.network(0).double()
        extractor.load_state_dict(self.unflatten(theta))

        def design(inputs: Tensor) -> Tensor:
            with torch.no_grad():
                features = extractor[0](inputs)
            return torch.cat([features, torch.ones_like(features[:, :1])], dim=1)

        objective = HeadObjective(design(self.inputs[: self.n_trained]), self.targets[: self.n_trained])
        return objective, design(self.judged["test"][0])


def block_bounds(n_hours: int, n_blocks: int) -> list[tuple[int, int]]:
    """First hour and the one after the last of consecutive blocks of about equal length."""
    edges = np.linspace(0, n_hours, n_blocks + 1).round().astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def block_means(hourly: Tensor, n_blocks: int) -> FloatArray:
    """Mean of each block of hours, (..., hours) -> (..., blocks)."""
    means = [hourly[..., a:b].mean(dim=-1) for a, b in block_bounds(hourly.shape[-1], n_blocks)]
    return torch.stack(means, dim=-1).numpy()


#: How the rows of a group are picked.
KINDS = ("random", "block", "helpful", "harmful")

#: What a group is for: one row; groups that are reported; groups that settings are chosen by; random halves.
USES = ("single", "group", "choice", "subset")


@short_repr
@dataclass(frozen=True, eq=False)
class Group:
    """Rows that are left out together.

    Attributes:
        use: one of `USES`.
        kind: one of `KINDS`.
        share: share of the trained rows.
        rows: positions in the trained rows.
    """

    use: str
    kind: str
    share: float
    rows: IntArray


def plan_groups(
    scores: FloatArray, shares: Sequence[float], repeats: int, singles: int, subsets: int, seed: int = 0
) -> list[Group]:
    """Plan the refits.

    Args:
        scores: influence of each trained row, shape (n,); positive means helpful.
        shares: shares of the groups that are reported.
        repeats: random groups and time blocks of each share; helpful and harmful ones are unique.
        singles: single rows of each of the kinds helpful, harmful and random.
        subsets: random halves for the linear datamodelling score.
        seed: seed of everything random.

    Returns:
        Groups in the order of `USES`. Those for choosing have the same kinds and shares as the reported
        ones but other rows: the most helpful there are a random half of twice as many.

    Raises:
        InputError: scores that are not finite, more single rows than there are.
    """
    require_finite("scores", scores)
    n = len(scores)
    if not shares or not 0 < min(shares) <= max(shares) < 0.5:
        raise InputError(f"full_network.shares: expected shares above 0 and below 0.5, got {list(shares)}.")
    if 3 * singles > n:
        raise InputError(f"full_network.singles: expected at most {n // 3} of each kind for {n} rows, got {singles}.")
    random = np.random.default_rng(seed)
    order = np.argsort(-scores, kind="stable")
    helpful, harmful, middle = order[:singles], order[n - singles :], order[singles : n - singles]
    drawn = {"helpful": helpful, "harmful": harmful, "random": random.choice(middle, singles, replace=False)}
    groups = [Group("single", kind, 1 / n, np.array([row])) for kind, rows in drawn.items() for row in rows]
    for share in shares:
        for kind in KINDS:
            for _ in range(repeats if kind in ("random", "block") else 1):
                groups.append(Group("group", kind, share, _pick(scores, kind, share, random)))
    for share in shares[::2]:
        for kind in KINDS:
            if kind in ("random", "block"):
                rows = _pick(scores, kind, share, random)
            else:
                twice = _pick(scores, kind, 2 * share, random)
                rows = np.sort(random.choice(twice, len(twice) // 2, replace=False))
            groups.append(Group("choice", kind, share, rows))
    halves = [np.sort(random.choice(n, n // 2, replace=False)) for _ in range(subsets)]
    return [*groups, *(Group("subset", "random", 0.5, rows) for rows in halves)]


def kept_rows(groups: Sequence[Group], n_rows: int) -> Tensor:
    """Whether each group keeps each row, shape (groups, n), boolean."""
    keep = torch.ones((len(groups), n_rows), dtype=torch.bool)
    for own, group in zip(keep, groups, strict=True):
        own[torch.from_numpy(group.rows)] = False
    return keep


def _pick(scores: FloatArray, kind: str, share: float, random: np.random.Generator) -> IntArray:
    n, size = len(scores), select.count(share, len(scores))
    if kind == "random":
        return np.sort(random.choice(n, size, replace=False))
    if kind == "block":
        start = int(random.integers(0, n - size + 1))
        return np.arange(start, start + size)
    return select.extreme(scores, share, kind)
