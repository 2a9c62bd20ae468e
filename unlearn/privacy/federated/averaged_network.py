"""A network forecaster by federated averaging: shared scalers, initial weights of a seed, and training, in one call."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import nn

from unlearn.checks import FloatArray, as_floats, require_choice, require_shape
from unlearn.data import LoadDataset, StandardScaler
from unlearn.data.features import CALENDAR_NAMES
from unlearn.errors import MismatchError, ProtocolError
from unlearn.forecasters.base import FROZEN, UNUSED
from unlearn.forecasters.card import NO_ROWS, make_card
from unlearn.forecasters.network import NetworkForecaster
from unlearn.forecasters.specs import network_named
from unlearn.privacy.federated.averaging import (
    Averaged,
    AveragingOptions,
    RoundRecord,
    abort,
    federated_average,
    founders,
)
from unlearn.privacy.federated.averaging_secure import summed_securely
from unlearn.privacy.federated.channel import Channel
from unlearn.privacy.federated.designs import NetworkDesign
from unlearn.privacy.federated.layout import Layout
from unlearn.privacy.federated.learners import FIXED, initial_weights, untrained_network
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, require_arrays
from unlearn.privacy.federated.robust import AGGREGATORS, Aggregator
from unlearn.privacy.federated.rollback import Unlearned, retrain, roll_back
from unlearn.privacy.federated.training import LAYOUT, MOMENTS, flattened, unflattened

_LOG = logging.getLogger(__name__)

#: How a member is unlearnt.
WAYS = ("retrain", "roll_back")
#: Of a `RoundRecord`, what JSON has no form for.
_TUPLES = ("members", "vanished", "rejected")


@dataclass(frozen=True, eq=False)
class AveragedNetwork:
    """A network that members trained together.

    Attributes:
        architecture: "cnn" or "mixer".
        layout: what the members' data have in common.
        averaged: weights and how they came about.
        scaler_members: whose rows the scalers of features and targets were computed from.
        seed: of the initial weights.
    """

    architecture: str
    layout: Layout = field(repr=False)
    averaged: Averaged
    scaler_members: tuple[str, ...]
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Loads and features, (B, F)."""
        return self.layout.shape

    @property
    def extractor(self) -> nn.Module:
        """The extractor, in double precision."""
        return self._network[0]

    @property
    def scaler(self) -> StandardScaler:
        """Of the features."""
        fixed = self.averaged.fixed
        return StandardScaler(*(torch.from_numpy(fixed[name].copy()) for name in FIXED[:2]))

    @property
    def design(self) -> NetworkDesign:
        """Scaler and extractor for an exact federated head: `fit_federated(channel, found.design)`."""
        return NetworkDesign(self.architecture, self.extractor, self.scaler)

    @property
    def head(self) -> FloatArray:
        """The averaged last layer with the scale of the loads, in p.u., shape (B, 65), intercept last."""
        mean, std = (self.averaged.fixed[name] for name in FIXED[2:])
        weight, bias = self.averaged.weights["1.weight"], self.averaged.weights["1.bias"]
        return np.concatenate([std[:, None] * weight, (mean + std * bias)[:, None]], axis=1)

    @property
    def _network(self) -> nn.Sequential:
        network = untrained_network(self.architecture, *self.shape).double()
        network.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in self.averaged.weights.items()})
        return network.requires_grad_(False)

    def forecast(self, features: FloatArray) -> FloatArray:
        """Forecast in p.u., shape (n, B), from raw features (n, B, F)."""
        features = as_floats("features", features)
        require_shape("features", features, (None, *self.shape))
        with torch.no_grad():
            extracted = self.extractor(self.scaler(torch.from_numpy(features))).numpy()
        return extracted @ self.head[:, :-1].T + self.head[:, -1]

    def as_forecaster(self, dataset: LoadDataset) -> NetworkForecaster:
        """The network for one member's data, to be judged and priced as any other; nothing is fitted.

        Raises:
            MismatchError: data of another layout.
        """
        self.layout.require_same(dataset.name, Layout.of(dataset))
        card = make_card(
            self.architecture,
            dataset,
            head_rows=NO_ROWS,
            scaler_rows="train of all members",
            seed=self.seed,
            settings={"training": asdict(self.averaged.options), "loss": "mse"},
        )
        said = f"Trained by federated averaging of {len(self.averaged.members)} members: no row can be forgotten alone."
        model = NetworkForecaster(replace(card, limitations=[said]), self.extractor, self.scaler)
        model.head = torch.from_numpy(self.head)
        parts = np.full(len(dataset.timestamps), UNUSED, dtype=np.uint8)
        parts[dataset.split.train] = FROZEN
        model.parts = torch.from_numpy(parts)
        return model

    def to_payload(self) -> Payload:
        """Everything but the weights before each round as arrays, for a file: `pack(network.to_payload())`."""
        averaged = self.averaged
        said = {
            "architecture": self.architecture, "options": asdict(averaged.options), "joined": dict(averaged.joined),
            "history": [asdict(one) for one in averaged.history], "scaler_members": self.scaler_members,
            "seed": self.seed,
        }  # fmt: skip
        arrays = {f"weight/{name}": value for name, value in averaged.weights.items()}
        arrays |= {f"fixed/{name}": value for name, value in averaged.fixed.items()}
        return {**self.layout.to_payload(), **arrays, "said": as_bytes(json.dumps(said))}

    @classmethod
    def from_payload(cls, payload: Payload) -> AveragedNetwork:
        """Take it back; it can be trained anew without a member, but not rolled back.

        Raises:
            ProtocolError: something else came.
        """
        layout = Layout.from_payload("model", payload)
        try:
            said = json.loads(as_text(payload["said"]))
            options = AveragingOptions(**said["options"])
            history = [RoundRecord(**{**one, **{k: tuple(one[k]) for k in _TUPLES}}) for one in said["history"]]
            like = initial_weights(said["architecture"], *layout.shape)
            members, seed, joined = tuple(said["scaler_members"]), int(said["seed"]), dict(said["joined"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError("model: expected one that to_payload wrote, got something else.") from error
        wanted = {f"weight/{name}": value.shape for name, value in like.items()}
        wanted |= {f"fixed/{name}": layout.shape if name.startswith("features") else layout.shape[:1] for name in FIXED}
        arrays = {name: value for name, value in payload.items() if "/" in name}
        require_arrays("model", arrays, {name: (np.floating, shape) for name, shape in wanted.items()})
        weights, fixed = (
            {name.removeprefix(kind): value for name, value in arrays.items() if name.startswith(kind)}
            for kind in ("weight/", "fixed/")
        )
        averaged = Averaged(weights, history, [], fixed, options, AGGREGATORS.make(options.aggregation), joined)
        return cls(said["architecture"], layout, averaged, members, seed)

    def without(
        self, channel: Channel, leaver: str, how: str = "retrain", rounds: int | None = None
    ) -> tuple[AveragedNetwork, Unlearned]:
        """Unlearn a member: train anew, or roll back.

        Scalers that saw the leaver are computed anew where training begins anew, which a rollback to before the first
        round is, too. A rollback to a later round keeps them, and says so among its limitations.

        Args:
            channel: to the members that remain.
            leaver: name of the member.
            how: "retrain" or "roll_back".
            rounds: how many rounds are trained again; None means all that were lost.

        Raises:
            InputError: see `retrain` and `roll_back`.
            ProtocolError: see `federated_average`.
        """
        require_choice("how", how, WAYS)
        averaged, saw = self.averaged, self.scaler_members
        from_start = how == "retrain" or any(leaver in (*own.members, *own.rejected) for own in averaged.history[:1])
        if leaver in saw and from_start:
            members = [name for name in channel.members if name != leaver]
            left = {name: number for name, number in averaged.joined.items() if name != leaver}
            fixed, saw = _shared_scalers(channel, self.shape, averaged.options, founders(members, left))
            averaged = replace(averaged, fixed=fixed)
        unlearn = {"retrain": retrain, "roll_back": roll_back}[how]
        done = unlearn(channel, averaged, leaver, fixed_saw=saw, rounds=rounds)
        return replace(self, averaged=done.averaged, scaler_members=saw), done


def fit_averaged(
    channel: Channel,
    architecture: str = "mixer",
    options: AveragingOptions | None = None,
    *,
    aggregate: Aggregator | None = None,
    members: Sequence[str] | None = None,
    joined: Mapping[str, int] | None = None,
) -> AveragedNetwork:
    """Train a network forecaster over the members of a federation.

    Scalers come from sums over the members of the first round, initial weights from `options.seed`, and the weights
    from `federated_average`. An exact federated head is one call more: `fit_federated(channel, found.design)`.

    >>> from unlearn.data import load_dataset
    >>> from unlearn.privacy.federated import LocalChannel, NetworkLearner, Party, trainer
    >>> own = {name: load_dataset("synthetic", n_hours=300, random_state=i) for i, name in enumerate(("north", "west"))}
    >>> parties = [Party(name, trainer(name, NetworkLearner(data, "mixer"))) for name, data in own.items()]
    >>> found = fit_averaged(LocalChannel(parties), "mixer", AveragingOptions(rounds=2))
    >>> [one.members for one in found.averaged.history]
    [('north', 'west'), ('north', 'west')]

    Args:
        channel: to members whose learners are `NetworkLearner`.
        architecture: "cnn" or "mixer".
        options: settings of the averaging.
        aggregate: an aggregator of your own settings; None means `options.aggregation`.
        members: who takes part; None means all of the channel.
        joined: first round, from 0, of members that join later; the scalers do not see them.

    Raises:
        InputError: see `federated_average`; an unknown architecture.
        MismatchError: members of different layouts; everybody was told to abort.
        ProtocolError: fewer than a round needs; everybody was told to abort.
    """
    network_named(architecture)
    options, joined = options or AveragingOptions(), dict(joined or {})
    names = list(channel.members if members is None else members)
    layout = _common_layout(channel, names)
    fixed, saw = _shared_scalers(channel, layout.shape, options, founders(names, joined))
    initial = initial_weights(architecture, *layout.shape, seed=options.seed)
    averaged = federated_average(
        channel, initial, options, aggregate=aggregate, fixed=fixed, members=names, joined=joined
    )
    return AveragedNetwork(architecture, layout, averaged, saw, options.seed)


def _common_layout(channel: Channel, names: Sequence[str]) -> Layout:
    """The layout that all members have."""
    replies = channel.ask(LAYOUT, {name: {} for name in names})
    first: Layout | None = None
    for member, answer in replies.answers.items():
        layout = Layout.from_payload(member, answer)
        first = first or layout
        try:
            first.require_same(member, layout)
        except MismatchError as error:
            abort(channel, names, str(error))
            raise
    if first is None:
        raise ProtocolError(f"layout: expected an answer, got none of {len(names)} members.")
    return first


def _shared_scalers(
    channel: Channel, shape: tuple[int, int], options: AveragingOptions, names: Sequence[str]
) -> tuple[Payload, tuple[str, ...]]:
    """Scalers of the rows of all members, as `StandardScaler.fit` makes them of the pooled rows, and whose they are.

    Moments are summed twice: as the rows are, then standardised by the result, so that neither large means nor a fixed
    point of the sum cost digits. Whoever is missing the second time is in neither result.
    """
    sizes = dict(zip(FIXED, (shape, shape, shape[:1], shape[:1]), strict=True))
    scale: Payload = {name: np.full(size, float(name.endswith("std"))) for name, size in sizes.items()}
    like = {"n": np.zeros(1)}
    for part in ("features", "targets"):
        like |= {f"{part}/{what}": np.zeros(sizes[f"{part}/mean"]) for what in ("sum", "squares")}
    saw: tuple[str, ...] = ()
    sum_up: Callable[..., tuple[FloatArray, tuple[str, ...]]] = _secure_moments if options.secure else _plain_moments
    for _ in range(2):
        least = options.least_members or len(names) // 2 + 1
        vector, saw = sum_up(channel, names, scale, like, least)
        sums = unflattened(vector, like)
        n = float(sums["n"][0])
        for part in ("features", "targets"):
            mean, square = sums[f"{part}/sum"] / n, sums[f"{part}/squares"] / n
            std = np.sqrt(np.maximum(square - mean**2, 0.0)) * scale[f"{part}/std"]
            mean = scale[f"{part}/mean"] + mean * scale[f"{part}/std"]
            # As `StandardScaler.fit` does; a column that does not vary is only centred.
            std[std <= 1e-12 * np.abs(mean)] = 1.0
            scale |= {f"{part}/mean": mean, f"{part}/std": std}
    scale["features/mean"][:, : len(CALENDAR_NAMES)] = 0.0
    scale["features/std"][:, : len(CALENDAR_NAMES)] = 1.0
    return scale, saw


def _plain_moments(
    channel: Channel, names: Sequence[str], scale: Payload, like: Payload, least: int
) -> tuple[FloatArray, tuple[str, ...]]:
    replies = channel.ask(MOMENTS, dict.fromkeys(names, scale))
    expected = {name: (np.floating, value.shape) for name, value in like.items()}
    vectors = {}
    for member, answer in replies.answers.items():
        try:
            vectors[member] = flattened(require_arrays(f"{member}, moments", answer, expected))
        except ProtocolError as error:
            _LOG.warning("scalers: %s is left out: %s", member, error)
    for member, reason in replies.refusals.items():
        _LOG.warning("scalers: %s refused: %s", member, reason)
    if len(vectors) < least:
        reason = f"scalers: expected answers of at least {least} members, got {len(vectors)} of {len(names)}."
        abort(channel, names, reason)
        raise ProtocolError(f"{reason} Wait for the others, or lower least_members.")
    return np.sum(list(vectors.values()), axis=0), tuple(vectors)


def _secure_moments(
    channel: Channel, names: Sequence[str], scale: Payload, like: Payload, least: int
) -> tuple[FloatArray, tuple[str, ...]]:
    total, refused = summed_securely(channel, MOMENTS, scale, names, least)
    if len(total.high) != sum(value.size for value in like.values()):
        raise ProtocolError(
            f"scalers: expected a sum of as many entries as moments, got {len(total.high)}. Let every party run the "
            "same version."
        )
    for member, reason in refused.items():
        _LOG.warning("scalers: %s is left out: %s", member, reason)
    return total.high, total.members
