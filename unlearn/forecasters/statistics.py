"""The sufficient statistics of a head: one set for all outputs that share their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn.errors import InputError
from unlearn.linalg import SufficientStatistics

PREFIX = "statistics."


@dataclass(frozen=True, eq=False)
class HeadStatistics:
    """What a head needs of its training rows to forget some of them without the others.

    One group of outputs unless single loads were forgotten, which gives them weights, and so
    statistics, of their own.

    Attributes:
        groups: statistics of each group, of all D columns; those of outputs outside the group are 0, for they may hold
            what such an output has forgotten.
        group: position in `groups` of each output, shape (B,).
    """

    groups: tuple[SufficientStatistics, ...]
    group: Tensor

    @classmethod
    def of(cls, design: Tensor, target: Tensor, weights: Tensor) -> HeadStatistics:
        """Sum up the training rows: design (n, D), target (n, B), weights (n, B)."""
        columns, group = torch.unique(weights, dim=1, return_inverse=True)
        groups = [
            SufficientStatistics.of(design, target, column).restricted(group == g) for g, column in enumerate(columns.T)
        ]
        return cls(tuple(groups), group)

    def of_output(self, output: int) -> SufficientStatistics:
        """Statistics of the group that an output is in."""
        return self.groups[int(self.group[output])]

    def members(self, outputs: Tensor) -> list[Tensor]:
        """The given outputs, by group."""
        return [outputs[self.group[outputs] == g] for g in self.group[outputs].unique()]

    def remove(
        self, design: Tensor, target: Tensor, weights: Tensor, outputs: Tensor, noise: float = 0.0
    ) -> HeadStatistics:
        """Return the statistics without some rows in some outputs; a group that is hit in part is divided.

        Args:
            design: Φ of the rows, shape (m, D).
            target: Y of the rows, shape (m, B).
            weights: their present weights, shape (m, B).
            outputs: positions of the outputs that forget them, shape (B',).
            noise: see `SufficientStatistics.remove`.
        """
        groups, group = list(self.groups), self.group.clone()
        for hit in self.members(outputs):
            old = int(self.group[hit[0]])
            left = self.groups[old].remove(design, target, weights[:, hit[0]], noise)
            if len(hit) == int((self.group == old).sum()):
                groups[old] = left
            else:
                group[hit] = len(groups)
                groups.append(left)
        return HeadStatistics(tuple(one.restricted(group == g) for g, one in enumerate(groups)), group)

    def without(self, outputs: Tensor) -> HeadStatistics:
        """Return the statistics without some outputs, which have no row left: nothing of theirs is kept.

        Args:
            outputs: positions of the outputs, shape (B',).
        """
        group = self.group.clone()
        group[outputs] = len(self.groups)
        kept = [one.restricted(group == g) for g, one in enumerate(self.groups)]
        empty = SufficientStatistics(
            torch.zeros_like(kept[0].moments), torch.zeros_like(kept[0].rounding), 0.0, kept[0].n_columns
        )
        used, place = torch.unique(group, return_inverse=True)
        return HeadStatistics(tuple([*kept, empty][int(g)] for g in used), place)

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors, for a checkpoint."""
        return {
            f"{PREFIX}moments": torch.stack([g.moments for g in self.groups]),
            f"{PREFIX}rounding": torch.stack([g.rounding for g in self.groups]),
            f"{PREFIX}total": torch.tensor([g.total for g in self.groups], dtype=torch.float64),
            f"{PREFIX}group": self.group.clone(),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], n_outputs: int, n_columns: int) -> HeadStatistics | None:
        """Take them back; None if the checkpoint has none, as those of earlier versions.

        Raises:
            InputError: tensors that are missing or do not fit the head.
        """
        found = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        if not found:
            return None
        size, count = n_outputs + n_columns, len(found.get("moments", ()))
        shapes = {
            "moments": (count, 2, size, size),
            "rounding": (count, size),
            "total": (count,),
            "group": (n_outputs,),
        }
        got = {name: tuple(value.shape) for name, value in found.items()}
        if got != shapes or not bool(((found["group"] >= 0) & (found["group"] < count)).all()):
            raise InputError(f"sufficient statistics: expected tensors of shapes {shapes}, got {got}.")
        parts = zip(found["moments"], found["rounding"], found["total"].tolist(), strict=True)
        return cls(tuple(SufficientStatistics(m, r, t, n_columns) for m, r, t in parts), found["group"])
