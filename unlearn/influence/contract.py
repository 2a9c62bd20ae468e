"""The contract of a loss: the loss of any rows together is the mean of their own losses.

Scores, gradients and curvature take it for granted. It is checked on every batch of the loader, on rows that lie far
apart (data sorted by class hide class weights), and on the rows of smallest and largest loss, there also beside the
model's parameters (where all losses happen to be equal, every weighted mean is right).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import InputError
from unlearn.influence.samples import are_slices, leaf_sizes, map_tensors

if TYPE_CHECKING:
    from unlearn.influence.mean_loss import MeanLoss

#: Rows of a set where the loader's batches hold only one, and rows that are spread evenly over the data.
LEAST = 32

#: Rows of smallest, and of largest loss that are looked at together.
EXTREME = 16

#: Suspicious sets that are computed again, row by row, before any is refused.
CONFIRMED = 5

#: Draws and factor of the measured rounding error that a difference must exceed.
DRAWS, NOISE_FACTOR = 3, 16.0

#: Step beside the parameters, in units of their mean magnitude.
AWAY = 0.1

#: What vmap raises for models and losses that it does not know.
UNVECTORISED = (RuntimeError, NotImplementedError, ValueError, IndexError, TypeError)


def lone(sample: Any) -> Any:
    """A batch of one."""
    return map_tensors(lambda tensor: tensor[None], sample)


class Contract:
    """The losses of rows by themselves and of sets of them, and whether these are what a mean over rows gives."""

    def __init__(self, loss: MeanLoss) -> None:
        self._loss, self._samples, self._per_pass = loss, loss.samples, loss.rows_that_fit
        self._vectorised = True

    def check(self, theta: Tensor) -> None:
        """Refuse a loss that is no mean over independent rows.

        Takes one pass for the rows by themselves and one or two for sets of rows, side by side where vmap can.

        Raises:
            InputError: it is refused; names rows, cause and remedy.
        """
        n, size = self._samples.size, self._samples.batch_size
        size = min(n, size if size > 1 else LEAST)
        everything = np.arange(n)
        if self._samples.columns is None:
            own, together = self._streamed(theta, size)
        else:
            own, together = self._values(theta, everything, 1), self._values(theta, everything, size)
        self._compare(theta, everything, size, own, together)
        if self._samples.columns is not None and n > size:
            apart = np.argsort(everything % -(-n // size), kind="stable")
            self._compare(theta, apart, size, own[apart], self._values(theta, apart, size))
        finite = np.flatnonzero(np.isfinite(own))
        if len(finite) > 1:
            spread = finite[np.linspace(0, len(finite) - 1, min(LEAST, len(finite))).astype(np.int64)]
            ordered = finite[np.argsort(own[finite], kind="stable")]
            chosen = np.unique(np.concatenate([spread, ordered[:EXTREME], ordered[-EXTREME:]]))
            self._compare(theta, chosen, len(chosen), own[chosen], self._values(theta, chosen, len(chosen)))
            self._compare_away(theta, chosen)

    def own_losses(self, theta: Tensor) -> FloatArray:
        """Loss of every row by itself, without regularisation, shape (N,)."""
        return self._values(theta, np.arange(self._samples.size), 1)

    def _compare_away(self, theta: Tensor, rows: IntArray) -> None:
        random = torch.Generator().manual_seed(0)
        noise = torch.randn(theta.shape, generator=random, dtype=torch.float64).to(theta)
        beside = theta + AWAY * (float(theta.abs().mean()) or 1.0) * noise
        try:
            own, together = self._values(beside, rows, 1), self._values(beside, rows, len(rows))
        except InputError:
            # A loss need not be defined there.
            return
        if np.isfinite(own).all():
            self._compare(beside, rows, len(rows), own, together)

    def _compare(self, theta: Tensor, rows: IntArray, size: int, own: FloatArray, together: FloatArray) -> None:
        """Refuse the worst of the sets of `size` consecutive rows whose own losses have another mean, if any."""
        starts = np.arange(0, len(rows), size)
        with np.errstate(all="ignore"):
            counts = np.diff(np.append(starts, len(rows)))
            means = np.add.reduceat(own, starts) / counts
            scale = np.add.reduceat(np.abs(own), starts) / counts
            excess = np.abs(together - means) / self._tolerance(theta, scale)
            excess[~np.isfinite(together) & ~np.isfinite(means)] = 0.0
            excess[np.isfinite(together) != np.isfinite(means)] = np.inf
        suspects = np.argsort(-excess, kind="stable")[:CONFIRMED]
        for k in suspects[excess[suspects] > 1]:
            self._confirm(theta, rows[starts[k] : starts[k] + size])

    def _confirm(self, theta: Tensor, rows: IntArray) -> None:
        """Compare once more by plain calls, and with what rounding alone does to the losses."""
        own = np.array([self._plain(theta, rows[i : i + 1]) for i in range(len(rows))])
        together = self._plain(theta, rows)
        if np.isfinite(together) and np.isfinite(own).all():
            difference = abs(together - own.mean())
            if difference <= self._tolerance(theta, np.abs(own).mean()):
                return
            if difference <= NOISE_FACTOR * self._rounding(theta, rows):
                return
        elif not np.isfinite(together) and not np.isfinite(own).all():
            return
        among = f"from {rows.min()} to {rows.max()}"
        raise InputError(
            f"{self._loss.which} loss: that of {len(rows)} rows together ({among}) is {together:.6g}, the mean of "
            f"their own losses is {own.mean():.6g}; expected a mean over independent rows. "
            f"{_remedy(own, together, rows)}"
        )

    def _rounding(self, theta: Tensor, rows: IntArray) -> float:
        """Mean change of the losses if every parameter changes by a few units in the last place."""
        random, found = torch.Generator().manual_seed(1), 0.0
        before = self._values(theta, rows, 1)
        for _ in range(DRAWS):
            signs = 2.0 * torch.randint(0, 2, theta.shape, generator=random).to(theta) - 1.0
            after = self._values(theta * (1 + 4 * torch.finfo(theta.dtype).eps * signs), rows, 1)
            found = max(found, float(np.abs(after - before).mean()))
        return found

    def _tolerance(self, theta: Tensor, scale: Any) -> Any:
        return torch.finfo(theta.dtype).eps ** 0.5 * np.maximum(scale, 1e-30)

    def _streamed(self, theta: Tensor, size: int) -> tuple[FloatArray, FloatArray]:
        """Losses of all rows, and of sets of consecutive ones, with every row read once."""
        own: list[float] = []
        together: list[float] = []
        for batch, singles in self._samples.batches_and_rows(size):
            start = len(own)
            rows = np.arange(start, start + len(singles))
            together.append(float(self._loss.tried(theta, batch, rows)))
            own += self._each(theta, batch, singles, start)
        return np.array(own), np.array(together)

    def _each(self, theta: Tensor, batch: Any, singles: list[Any], start: int) -> list[float]:
        sizes = leaf_sizes(batch)
        if self._vectorised and sizes is not None and set(sizes) == {len(singles)} and are_slices(batch, singles):
            try:
                return self._side_by_side(theta, batch, len(singles), 1).tolist()
            except UNVECTORISED:
                self._vectorised = False
        return [float(self._loss.tried(theta, single, np.array([start + i]))) for i, single in enumerate(singles)]

    def _values(self, theta: Tensor, rows: IntArray, size: int) -> FloatArray:
        """Loss of every `size` consecutive entries of `rows`; the last set may hold fewer."""
        whole = len(rows) // size * size
        found: list[float] = []
        step = max(1, self._per_pass // size) * size
        label = f"checking the {self._loss.which} loss"
        for start in tqdm(range(0, whole, step), desc=label, leave=False, delay=2.0):
            found += self._sets(theta, rows[start : min(start + step, whole)], size)
        if whole < len(rows):
            found.append(self._plain(theta, rows[whole:]))
        return np.array(found)

    def _sets(self, theta: Tensor, rows: IntArray, size: int) -> list[float]:
        if self._vectorised and self._samples.columns is not None and len(rows) > size:
            try:
                return self._side_by_side(theta, self._samples.take(rows), len(rows), size).tolist()
            except UNVECTORISED:
                self._vectorised = False
        return [self._plain(theta, rows[start : start + size]) for start in range(0, len(rows), size)]

    def _side_by_side(self, theta: Tensor, batch: Any, n: int, size: int) -> FloatArray:
        sets = map_tensors(lambda column: column.unflatten(0, (n // size, size)), batch)
        with torch.no_grad():
            values = vmap(lambda rows: self._loss.data_loss(theta, rows))(sets)
        return values.reshape(n // size).double().cpu().numpy()

    def _plain(self, theta: Tensor, rows: IntArray) -> float:
        return float(self._loss.tried(theta, self._samples.take(rows), rows))


def _remedy(own: FloatArray, together: float, rows: IntArray) -> str:
    missing = np.flatnonzero(~np.isfinite(own))
    if len(missing):
        return (
            f"Row {rows[missing[0]]} has no loss of its own ({own[missing[0]]}): the loss leaves it out, as "
            "ignore_index does. Drop such rows from the data set."
        )
    near = 1e-3 * max(abs(together), 1e-30)
    if abs(together - own.sum()) <= near:
        return "Use reduction='mean': this is their sum."
    if abs(together - np.sqrt(np.square(own).mean())) <= near:
        return (
            "This is the root of a mean. Use the mean squared error; by the chain rule scores of the RMSE are those of "
            "the MSE divided by 2 RMSE, the RMSE of all rows."
        )
    return (
        "Use reduction='mean' without class weights (write `(weight[y] * loss_of_each_row).mean()` instead), without "
        "ignored rows and without a root, median or sum over the batch that it is divided by; give targets the shape "
        "of the outputs; and use no layer that mixes the rows of a batch, such as batch norm without running "
        "statistics."
    )
