"""The member's side of federated averaging: what answers a round, in plain sight or as part of a secure sum."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from unlearn.checks import FloatArray, require_choice
from unlearn.errors import ProtocolError
from unlearn.privacy.federated.layout import Layout
from unlearn.privacy.federated.learners import Learner, LocalTraining, seed_of
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, require_arrays
from unlearn.privacy.federated.party import ABORT, Handler

_LOG = logging.getLogger(__name__)

#: Tasks of a member, and what is summed securely in their place, under the same names.
TRAIN, MOMENTS, LAYOUT = "average/train", "average/moments", "average/layout"
#: What an update counts in the mean: its rows, or one whoever the member is.
WEIGHED_BY = ("samples", "members")


@runtime_checkable
class KnowsScale(Protocol):
    """A learner whose inputs and targets are standardised with scalers that all members share."""

    @property
    def layout(self) -> Layout:
        """What all members' data have in common."""
        ...

    def moments(self, scale: Payload) -> Payload:
        """Number of rows, sums and sums of squares, standardised with scalers that need not be the right ones yet."""
        ...


def round_message(
    weights: Payload, fixed: Payload, options: LocalTraining, round: int, seed: int, weigh: str
) -> Payload:
    """What a coordinator sends in a round."""
    return {
        **{f"weight/{name}": value for name, value in weights.items()},
        **{f"fixed/{name}": value for name, value in fixed.items()},
        **{f"option/{name}": value for name, value in options.to_payload().items()},
        "round": np.array([round]),
        "seed": np.array([seed]),
        "weigh": as_bytes(weigh),
    }


def trainer(name: str, learner: Learner) -> dict[str, Handler]:
    """Handlers of a `Party` that takes part in federated averaging with updates in plain sight.

    Args:
        name: of the member.
        learner: what trains.
    """

    def train(kept: Payload, asked: Payload) -> Payload:
        update, n = _update(name, learner, asked)
        return {"n": np.array([n]), **{f"update/{own}": value for own, value in update.items()}}

    def abort(kept: Payload, asked: Payload) -> Payload:
        _LOG.warning("%s: the coordinator ended the training: %s", name, as_text(asked.get("reason", as_bytes(""))))
        return {}

    handlers: dict[str, Handler] = {TRAIN: train, ABORT: abort}
    if isinstance(learner, KnowsScale):
        scale = learner
        handlers[LAYOUT] = lambda kept, asked: scale.layout.to_payload()
        handlers[MOMENTS] = lambda kept, asked: scale.moments(asked)
    return handlers


def training_contributions(
    name: str, learner: Learner
) -> dict[str, Callable[[Payload], tuple[FloatArray, FloatArray | None]]]:
    """What a member adds to secure sums of federated averaging: [n, n · update], or the moments of its scale.

    Entries stand in the order of the sorted names of the arrays, see `flattened`.
    """

    def train(asked: Payload) -> tuple[FloatArray, None]:
        update, n = _update(name, learner, asked)
        return np.concatenate([[n], n * flattened(update)]), None

    contributions: dict[str, Callable[[Payload], tuple[FloatArray, FloatArray | None]]] = {TRAIN: train}
    if isinstance(learner, KnowsScale):
        scale = learner
        contributions[MOMENTS] = lambda asked: (flattened(scale.moments(asked)), None)
    return contributions


def flattened(payload: Payload) -> FloatArray:
    """All entries as one vector, arrays in the order of their sorted names.

    >>> flattened({"b": np.array([[2.0, 3.0]]), "a": np.array(1.0)}).tolist()
    [1.0, 2.0, 3.0]
    """
    return np.concatenate([np.ravel(payload[name]).astype(np.float64) for name in sorted(payload)])


def unflattened(vector: FloatArray, like: Payload) -> Payload:
    """Arrays of the names and shapes of `like`, from the vector that `flattened` makes."""
    names = sorted(like)
    ends = np.cumsum([like[name].size for name in names])
    return {
        name: part.reshape(like[name].shape)
        for name, part in zip(names, np.split(np.asarray(vector, np.float64), ends[:-1]), strict=True)
    }


def _update(name: str, learner: Learner, asked: Payload) -> tuple[Payload, float]:
    """What training changed, clipped if that was asked for, and what it counts."""
    parts: dict[str, Payload] = {"weight": {}, "fixed": {}, "option": {}, "": {}}
    for key, value in asked.items():
        kind, _, rest = key.partition("/") if "/" in key else ("", "", key)
        if kind not in parts:
            raise ProtocolError(
                f"{name}: expected arrays of a round, got {key!r}. Let every party run the same version."
            )
        parts[kind][rest] = value
    whole = (np.integer, (1,))
    require_arrays(f"{name}, round", parts[""], {"round": whole, "seed": whole, "weigh": (np.uint8, (None,))})
    options = LocalTraining.from_payload(parts["option"])
    weigh = as_text(parts[""]["weigh"])
    require_choice("weigh", weigh, WEIGHED_BY)
    number, seed = int(parts[""]["round"][0]), int(parts[""]["seed"][0])
    old = parts["weight"]
    new = learner.train({**old, **parts["fixed"]}, options, number, seed_of(seed, number, name))
    require_arrays(f"{name}, trained weights", new, {own: (np.floating, value.shape) for own, value in old.items()})
    update = {own: new[own].astype(np.float64) - old[own] for own in old}
    norm = float(np.linalg.norm(flattened(update)))
    if options.clip and norm > options.clip:
        update = {own: value * (options.clip / norm) for own, value in update.items()}
    return update, float(learner.n_samples) if weigh == "samples" else 1.0
