"""Labels of profiles as numbers for networks and mixtures: month, day of the week, segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from unlearn.checks import IntArray
from unlearn.errors import InputError
from unlearn.households.profiles import DailyProfiles

#: Labels in the order of the columns of a label matrix.
LABELS = ("month", "day_of_week", "segment")


@dataclass(frozen=True)
class LabelSpace:
    """The values that labels can take; a label matrix (N, 3) holds positions that count from 0.

    Attributes:
        segments: names of the segments.
    """

    segments: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Values of each label: months, days of the week, segments."""
        return (12, 7, len(self.segments))

    @property
    def width(self) -> int:
        """Columns of the one-hot form."""
        return sum(self.sizes)

    def matrix(self, profiles: DailyProfiles) -> IntArray:
        """Label matrix of profiles with the same segments, shape (N, 3).

        Raises:
            InputError: other segments.
        """
        if profiles.segments != self.segments:
            raise InputError(
                f"{profiles.name} segments: expected {list(self.segments)}, as fitted, got {list(profiles.segments)}."
            )
        return np.stack([profiles.month - 1, profiles.day_of_week, profiles.segment], axis=1)

    def wanted(self, month: ArrayLike, day_of_week: ArrayLike, segment: ArrayLike | Sequence[str]) -> IntArray:
        """Label matrix of labels that somebody asks for; numbers and single values are broadcast.

        Args:
            month: 1 to 12.
            day_of_week: 0 (Monday) to 6.
            segment: names, or positions among the segments.

        Raises:
            InputError: a label that is not known, or lengths that do not go together.
        """
        names = np.asarray(segment)
        if names.dtype.kind in "UO":
            unknown = sorted({str(name) for name in names.ravel().tolist() if name not in self.segments})
            if unknown:
                raise InputError(f"segment: expected among {', '.join(self.segments)}; got {', '.join(unknown)}.")
            names = np.searchsorted(self.segments, names, sorter=np.argsort(self.segments))
            names = np.argsort(self.segments)[names]
        columns = [np.asarray(month) - 1, np.asarray(day_of_week), names]
        try:
            matrix = np.stack(np.broadcast_arrays(*map(np.atleast_1d, columns)), axis=1)
        except ValueError as error:
            raise InputError(f"labels: expected one length for month, day_of_week and segment ({error}).") from error
        for column, (label, size) in enumerate(zip(LABELS, self.sizes, strict=True)):
            values = matrix[:, column]
            if not np.issubdtype(matrix.dtype, np.integer) or (values < 0).any() or (values >= size).any():
                first = 1 if label == "month" else 0
                raise InputError(f"{label}: expected whole numbers from {first} to {size - 1 + first}.")
        return matrix.astype(np.int64)

    def one_hot(self, matrix: IntArray) -> Tensor:
        """One-hot form of a label matrix, shape (N, width), float32."""
        columns = torch.from_numpy(np.ascontiguousarray(matrix))
        return torch.cat([F.one_hot(columns[:, i], size) for i, size in enumerate(self.sizes)], dim=1).float()
