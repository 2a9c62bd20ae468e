"""Small federations for tests of averaging: members with a linear model of few rows."""

from collections.abc import Callable, Sequence

import numpy as np

from unlearn.privacy.federated import (
    Identity,
    Learner,
    LocalChannel,
    LocalTraining,
    Party,
    Payload,
    Roster,
    averaging_party,
)

NAMES = ("north", "east", "south", "west")


class LinearLearner:
    """Gradient steps of least squares, in double precision; in batches of the seeded order, or full ones."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        self.inputs, self.targets = inputs, targets

    @property
    def n_samples(self) -> int:
        return len(self.targets)

    def train(self, weights: Payload, options: LocalTraining, round: int, seed: int) -> Payload:
        w, random = weights["w"].copy(), np.random.default_rng(seed)
        for _ in range(options.epochs):
            order = random.permutation(self.n_samples) if options.batch_size else np.arange(self.n_samples)
            for rows in np.array_split(order, -(-len(order) // (options.batch_size or len(order)))):
                x = self.inputs[rows]
                w -= options.learning_rate * 2 * x.T @ (x @ w - self.targets[rows]) / len(rows)
        return {"w": w}


class Answering:
    """A learner that answers with what a function makes of the weights."""

    n_samples = 10

    def __init__(self, made: Callable[[Payload], Payload]) -> None:
        self._made = made

    def train(self, weights: Payload, options: LocalTraining, round: int, seed: int) -> Payload:
        return self._made(weights)


def members(names: Sequence[str] = NAMES, n_columns: int = 3) -> dict[str, Learner]:
    """Learners with different numbers of rows."""
    random = np.random.default_rng(0)
    sizes = 10 + 7 * np.arange(len(names))
    return {
        name: LinearLearner(random.normal(size=(n, n_columns)), random.normal(size=n))
        for name, n in zip(names, sizes, strict=True)
    }


def pooled(learners: Sequence[LinearLearner]) -> LinearLearner:
    """One learner with all rows."""
    return LinearLearner(
        np.concatenate([own.inputs for own in learners]), np.concatenate([own.targets for own in learners])
    )


def channel_of(
    learners: dict[str, Learner],
    secure: bool = False,
    lost: Callable[[str, str, int], bool] = lambda task, member, before: False,
) -> LocalChannel:
    if not secure:
        return LocalChannel([averaging_party(name, own) for name, own in learners.items()], lost)
    identities = {name: Identity.new() for name in learners}
    roster = Roster({name: own.public for name, own in identities.items()})
    parties: list[Party] = [averaging_party(name, own, identities[name], roster) for name, own in learners.items()]
    return LocalChannel(parties, lost)
