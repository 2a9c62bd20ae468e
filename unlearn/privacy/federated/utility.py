"""`Utility`: a member of a federation of exact least squares, which forgets customers and can leave.

What leaves it are sums over all of its training rows, and those only masked, within a secure sum. It keeps the sums
that the federation has of it, so that a change is what it has now less what it is known by: exact to some 1e-22. These
kept sums hold a forgotten customer until the federation has taken the change in; then they are replaced.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from unlearn.checks import FloatArray
from unlearn.data import LoadDataset
from unlearn.errors import InputError, ProtocolError
from unlearn.households.customers import CustomerLoads
from unlearn.linalg import SufficientStatistics
from unlearn.privacy.federated.designs import Design, design_from_payload, digest_of, equal_columns
from unlearn.privacy.federated.identity import Identity, Roster
from unlearn.privacy.federated.layout import Layout
from unlearn.privacy.federated.messages import Payload, as_bytes
from unlearn.privacy.federated.moments import added, as_vector, from_vector, negated
from unlearn.privacy.federated.party import Handler, Party
from unlearn.privacy.federated.sum_protocol import SumOptions
from unlearn.privacy.federated.summands import summand

logger = logging.getLogger(__name__)

#: The two states of a member's sums: as the federation has them, and as it has them if the last round was taken in.
CONFIRMED, PENDING = "exact.confirmed.", "exact.pending."

_SCALE = "load scale"


class Utility:
    """A member's side of exact federated least squares.

    >>> from unlearn.data import make_synthetic
    >>> Utility("north", make_synthetic(n_loads=2, n_hours=500)).limitations
    ()
    """

    def __init__(self, name: str, dataset: LoadDataset, leaving: bool = False) -> None:
        """Fix who it is and what it has.

        Args:
            name: within the federation.
            dataset: its training rows are summed up with those of the others; `CustomerLoads` can forget customers.
            leaving: whether it agrees to leave, see `leave`.
        """
        self.name = name
        self.dataset = dataset
        self.layout = Layout.of(dataset)
        self._nominal_mw = dataset.load_mw[dataset.split.train].max(axis=0)
        self._leaving = leaving
        self._stale: tuple[str, ...] = ()
        self._kept: Payload = {}

    def party(self, identity: Identity, roster: Roster, options: SumOptions | None = None) -> Party:
        """The member as a channel asks it.

        Args:
            identity: its own keys.
            roster: public keys of all members, agreed on beforehand.
            options: of secure sums; the same at all members.
        """
        return Party(self.name, self.handlers(identity, roster, options))

    def handlers(self, identity: Identity, roster: Roster, options: SumOptions | None = None) -> dict[str, Handler]:
        """What answers each task; see `party`."""
        contributions = {"statistics": self._statistics, "change": self._change, "changed": self._changed}
        sums = summand(self.name, identity, roster, contributions, options)
        own: dict[str, Handler] = {"layout": self._tell_layout, "columns": self._columns, "confirm": self._confirm}
        return {task: self._keeping(handler) for task, handler in {**sums, **own}.items()}

    def forget(self, customers: Iterable[str], rescale: bool = False, **how: Any) -> None:
        """Replace the data by those of somebody who never had these customers; lags and sums follow anew.

        The federation takes it in with its next `update_federated`. Until then it still knows the customers, and so do
        the sums that this member keeps. Their readings stay where the meters lie, see `CustomerLoads.purged`.

        Args:
            customers: names.
            rescale: whether the factors that put each load's maximum at its bus's nominal load are fitted again. If
                not, they stay as the forgotten customers had shaped them, which `limitations` lists.
            how: see `CustomerLoads.without`: case, hours, replacement.

        Raises:
            InputError: data without customers, or whatever `without` refuses; loads that were not scaled over their
                training rows cannot be rescaled.
        """
        if not isinstance(self.dataset, CustomerLoads):
            raise InputError(
                f"{self.name}: expected loads that are sums of customers, got a {type(self.dataset).__name__}, which "
                "does not know them. Build it with customer_loads, or set another dataset: utility.dataset = ..."
            )
        scales = [one for one in self.dataset.fitted if one.name == _SCALE]
        if rescale and [one.fitted_on for one in scales] != ["train"]:
            raise InputError(
                'rescale: expected loads whose scale was fitted over "train", got '
                f"{', '.join(one.fitted_on for one in scales) or 'none that was fitted'}. Call scaled_to first, or "
                "leave rescale out."
            )
        left = self.dataset.without(customers, **how)
        if rescale:
            left = left.scaled_to(self._nominal_mw)
        self.dataset = left
        self._stale = tuple(
            f"{one.name}: {one.description}; fitted on {one.fitted_on} rows that held the forgotten customers"
            for one in left.fitted
            if not (rescale and one.name == _SCALE)
        )

    def leave(self) -> None:
        """Agree to leave: in the next round that names this member it takes its sums out of the federation's.

        Nobody is taken out without it, because who has the totals before and after has the sums of whoever left.
        """
        self._leaving = True

    @property
    def limitations(self) -> tuple[str, ...]:
        """What forgotten customers have shaped and was not fitted again, in sentences; empty if nothing."""
        return self._stale

    def _keeping(self, handler: Handler) -> Handler:
        """A handler whose contributions find what the member keeps: across processes it is another one each time."""

        def answer(kept: Payload, asked: Payload) -> Payload:
            self._kept = kept
            return handler(kept, asked)

        return answer

    def _tell_layout(self, kept: Payload, asked: Payload) -> Payload:
        """The layout and the number of training rows; refuses the federation's if it is another."""
        if asked:
            Layout.from_payload(self.name, asked).require_same(self.name, self.layout)
        return {**self.layout.to_payload(), "n_rows": np.array([len(self.dataset.split.train)], dtype=np.int64)}

    def _columns(self, kept: Payload, asked: Payload) -> Payload:
        """Which columns equal an earlier one on the training rows, and nothing of their values."""
        return {"same_as": equal_columns(self.dataset.features[self.dataset.split.train])}

    def _confirm(self, kept: Payload, asked: Payload) -> Payload:
        """The round was taken in: what was pending is what the federation has."""
        self._settle(self._said(asked, "tag"))
        return {}

    def _statistics(self, asked: Payload) -> tuple[FloatArray, FloatArray | None]:
        design = self._design(asked)
        vector = as_vector(self._summed(design))
        self._pend(asked, self._mark(design), vector)
        return vector[0], vector[1]

    def _change(self, asked: Payload) -> tuple[FloatArray, FloatArray | None]:
        """Sums now less those that the federation has; exactly 0 where the data are the same."""
        design = self._design(asked)
        before = self._known(asked)
        if self._leaves(asked):
            self._pend(asked, b"", np.zeros((2, 0)))
            change = as_vector(negated(self._of_vector(before, design)))
        elif self._kept[f"{CONFIRMED}mark"].tobytes() == self._mark(design):
            self._pend(asked, self._mark(design), before)
            change = np.zeros_like(before)
        else:
            now = self._summed(design)
            self._pend(asked, self._mark(design), as_vector(now))
            change = as_vector(added(now, negated(self._of_vector(before, design))))
        return change[0], change[1]

    def _changed(self, asked: Payload) -> tuple[FloatArray, FloatArray | None]:
        """Whether there is a change, 1 or 0: what a coordinator may count before it asks for the changes."""
        design = self._design(asked)
        self._known(asked)
        changed = self._leaves(asked) or self._kept[f"{CONFIRMED}mark"].tobytes() != self._mark(design)
        return np.array([float(changed)]), None

    def _design(self, asked: Payload) -> Design:
        Layout.from_payload(self.name, asked).require_same(self.name, Layout.of(self.dataset))
        return design_from_payload(asked, self.layout)

    def _summed(self, design: Design) -> SufficientStatistics:
        rows = self.dataset.split.train
        features, target = design.rows(self.dataset.features[rows]), torch.from_numpy(self.dataset.load_pu[rows])
        return SufficientStatistics.of(features[:0], target[:0]).add(features, target, noise=design.noise)

    def _of_vector(self, vector: FloatArray, design: Design) -> SufficientStatistics:
        return from_vector(vector, design.n_columns, len(self.layout.load_names), self.name)

    def _mark(self, design: Design) -> bytes:
        """What sums are determined by: the data and φ."""
        return bytes.fromhex(self.dataset.fingerprint) + digest_of(design)

    def _leaves(self, asked: Payload) -> bool:
        if self.name not in json.loads(self._said(asked, "leaving")):
            return False
        if not self._leaving:
            raise ProtocolError(
                f"{self.name}: expected to be asked before it is taken out of the federation, got a round that names "
                "it as leaving. Call utility.leave() at this member first."
            )
        return True

    def _known(self, asked: Payload) -> FloatArray:
        """The vector of sums that the federation has of this member, shape (2, n)."""
        accepted: Mapping[str, str] = json.loads(self._said(asked, "accepted"))
        self._settle(bytes.fromhex(accepted.get(self.name, "")))
        return self._kept[f"{CONFIRMED}vector"]

    def _settle(self, tag: bytes) -> None:
        """Take what is pending as confirmed, or drop it, by the last round of this member that the federation took in.

        A round that failed was never taken in; so what it left pending is dropped here.
        """
        kept = self._kept
        if f"{PENDING}tag" in kept and kept[f"{PENDING}tag"].tobytes() == tag:
            for name in ("tag", "mark", "vector"):
                kept[f"{CONFIRMED}{name}"] = kept.pop(f"{PENDING}{name}")
            if not kept[f"{CONFIRMED}vector"].size:
                for name in ("tag", "mark", "vector"):
                    del kept[f"{CONFIRMED}{name}"]
                self._leaving = False
                logger.info("%s: left the federation; nothing is kept of its sums", self.name)
            return
        if f"{CONFIRMED}tag" not in kept or kept[f"{CONFIRMED}tag"].tobytes() != tag:
            raise ProtocolError(
                f"{self.name}: expected a round that builds on sums which this member added, got one that builds on "
                "others. Sum up afresh: refit_federated(channel, model)."
            )
        for name in ("tag", "mark", "vector"):
            kept.pop(f"{PENDING}{name}", None)

    def _said(self, asked: Payload, name: str) -> bytes:
        if name not in asked or asked[name].dtype != np.uint8:
            raise ProtocolError(
                f"{self.name}: expected a message with {name}, got one without. Let every party run the same version."
            )
        return asked[name].tobytes()

    def _pend(self, asked: Payload, mark: bytes, vector: FloatArray) -> None:
        self._kept[f"{PENDING}tag"] = as_bytes(self._said(asked, "tag"))
        self._kept[f"{PENDING}mark"] = as_bytes(mark)
        self._kept[f"{PENDING}vector"] = vector
