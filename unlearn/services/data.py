"""Data sets as a registry keeps them: with the grid that they are scaled to, and what was removed in place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlearn.checks import BoolArray, require_shape, short_repr
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.grid import GridCase, OperatingCost, load_case
from unlearn.records import read_json, read_safetensors, write_json, write_safetensors

#: Relative difference up to which a load's maximum is its bus's nominal load: the rounding of scaling.
_SAME = 1e-12
_MARKS, _GRID = "left_out.safetensors", "grid.json"


@short_repr
@dataclass(frozen=True, eq=False)
class KeptData:
    """A data set, and what goes with it.

    Attributes:
        dataset: what models learn from.
        grid: name of the grid case, or its file, that loads are scaled to and forecasts priced on; None is no grid.
        left_out: measurements that were removed in place, shape (N, B): their loads are 0, and no model learns them.
    """

    dataset: LoadDataset
    grid: str | None = None
    left_out: BoolArray = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))

    def __post_init__(self) -> None:
        shape = self.dataset.load_mw.shape
        if not self.left_out.size:
            object.__setattr__(self, "left_out", np.zeros(shape, dtype=bool))
        require_shape("left_out", self.left_out, shape)
        if self.grid is not None and self.case.n_loads != self.dataset.n_loads:
            raise InputError(
                f"grid: expected one with {self.dataset.n_loads} loads, as {self.dataset.name} has, got {self.grid} "
                f"with {self.case.n_loads}. Choose as many loads, or no grid."
            )

    @cached_property
    def case(self) -> GridCase:
        """The grid case."""
        assert self.grid is not None
        return load_case(self.grid)

    def pricing(self) -> OperatingCost | None:
        """The grid to price forecasts on, which has priced nothing yet."""
        return None if self.grid is None else OperatingCost(self.case)

    @classmethod
    def scaled(cls, dataset: LoadDataset, grid: str | None) -> KeptData:
        """A data set scaled to a grid: each load's maximum in training rows is the nominal load of its bus."""
        if grid is None:
            return cls(dataset)
        kept = cls(dataset, grid)
        return replace(kept, dataset=dataset.scaled_to(kept.case.nominal_load_mw, base_mva=kept.case.base_mva))

    def with_dataset(self, dataset: LoadDataset, left_out: BoolArray | None = None) -> KeptData:
        """Another data set in its place, scaled anew where that makes a difference, so that no factor remembers."""
        marks = self.left_out if left_out is None else left_out
        if self.grid is None or self.case.n_loads != dataset.n_loads:
            return KeptData(dataset, None, marks)
        nominal = self.case.nominal_load_mw
        if not np.allclose(dataset.load_mw[dataset.split.train].max(axis=0), nominal, rtol=_SAME, atol=0.0):
            scaled = dataset.scaled_to(nominal, base_mva=self.case.base_mva)
            dataset = replace(scaled, fitted=tuple({own.name: own for own in scaled.fitted}.values()))
        return KeptData(dataset, self.grid, marks)

    def said(self) -> dict[str, Any]:
        """What a registry says of it in the open: no hash of the readings, by which guesses at them could be tried."""
        customers = getattr(self.dataset, "customer_ids", None)
        return {
            "grid": self.grid,
            "n_hours": len(self.dataset.timestamps),
            "n_loads": self.dataset.n_loads,
            "n_customers": None if customers is None else len(customers),
        }


def save_data(data: KeptData, folder: Path) -> None:
    """Write a data set and what goes with it into an empty folder."""
    from unlearn.households.io.loads import save_loads

    save_loads(data.dataset, folder / "loads")
    write_safetensors({"left_out": torch.from_numpy(data.left_out)}, folder / _MARKS, confidential=True)
    write_json({"grid": data.grid}, folder / _GRID, confidential=True)


def load_data(folder: Path) -> KeptData:
    """Read what `save_data` wrote, wholly into memory."""
    from unlearn.households.io.loads import load_loads

    marks = read_safetensors(folder / _MARKS)["left_out"].numpy()
    return KeptData(load_loads(folder / "loads", in_memory=True), read_json(folder / _GRID)["grid"], marks)
