"""The rows behind a loader, in the data set's own order: fetched by index, kept in memory where they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, TensorDataset
from torch.utils.data.dataloader import default_collate

from unlearn.checks import IntArray
from unlearn.errors import InputError

#: Data sets whose rows take up to this many bytes stay in memory, collated once.
KEPT_BYTES = 2**30


class Samples:
    """Rows of a loader's data set, as batches on a device.

    The loader gives the data set, the batch size and how to collate. Rows whose tensors can be
    concatenated are `columns`: any selection of them is one indexing operation.

    Attributes:
        size: number of rows N.
        batch_size: that of the loader.
        columns: all rows as one batch, or None where they do not fit or cannot be concatenated.
    """

    def __init__(self, name: str, loader: DataLoader, device: torch.device | str) -> None:
        """Check the loader.

        Raises:
            InputError: no loader with indices and a batch size, an empty data set, a loader that
                shuffles, skips rows or drops the last batch.
        """
        self._require_usable(name, loader)
        self.size = len(loader.dataset)  # type: ignore[arg-type]
        self.batch_size = int(loader.batch_size or 1)
        self._loader, self._device = loader, torch.device(device)
        self._dataset: Dataset = loader.dataset
        self.columns = self._tensors() or self._gathered()

    def take(self, rows: IntArray) -> Any:
        """Batch of these rows, in this order."""
        if self.columns is not None:
            index = torch.from_numpy(rows).to(self._device)
            return map_tensors(lambda column: column[index], self.columns)
        many = getattr(self._dataset, "__getitems__", None)
        items = many(rows.tolist()) if many is not None else [self._dataset[i] for i in rows.tolist()]
        return self._moved(self._loader.collate_fn(items))

    def span(self, start: int, stop: int) -> Any:
        """Batch of the rows from start to stop, without a copy where they are in memory."""
        if self.columns is not None:
            return map_tensors(lambda column: column[start:stop], self.columns)
        return self.take(torch.arange(start, min(stop, self.size)).numpy())

    def sweep(self, batch_size: int) -> Iterator[tuple[Any, int]]:
        """All rows in order, as batches with their sizes."""
        if self.columns is None and self._loader.num_workers and batch_size == self.batch_size:
            for start, batch in zip(range(0, self.size, batch_size), self._ordered(), strict=True):
                yield self._moved(batch), min(batch_size, self.size - start)
            return
        for start in range(0, self.size, batch_size):
            stop = min(start + batch_size, self.size)
            yield self.span(start, stop), stop - start

    def _ordered(self) -> DataLoader:
        """The loader with its workers, whatever its sampler."""
        given = self._loader
        return DataLoader(
            self._dataset,
            batch_size=self.batch_size,
            collate_fn=given.collate_fn,
            num_workers=given.num_workers,
            worker_init_fn=given.worker_init_fn,
        )

    def _tensors(self) -> Any:
        if type(self._dataset) is TensorDataset and self._loader.collate_fn is default_collate:
            return [tensor.to(self._device) for tensor in self._dataset.tensors]
        return None

    def _gathered(self) -> Any:
        """Rows of any other data set, collated once, if their size allows."""
        first = self.take_first()
        sizes = leaf_sizes(first)
        share = min(self.batch_size, self.size)
        if sizes is None or set(sizes) != {share} or n_bytes(first) * (self.size / share) > KEPT_BYTES:
            return None
        batches = [self._moved(batch) for batch in self._ordered()]
        shapes = {tuple(leaf.shape[1:] for leaf in leaves(batch)) for batch in batches}
        return concatenated(batches) if len(shapes) == 1 else None

    def take_first(self) -> Any:
        """The first batch as the data set gives it now; two calls differ if the data set is random."""
        items = [self._dataset[i] for i in range(min(self.batch_size, self.size))]
        return self._moved(self._loader.collate_fn(items))

    def evidence(self) -> list[Tensor]:
        """Tensors that tell these rows from others: all of them where they are in memory, else the first batch."""
        return leaves(self.take_first() if self.columns is None else self.columns)

    def _moved(self, batch: Any) -> Any:
        return map_tensors(lambda tensor: tensor.to(self._device), batch)

    @staticmethod
    def _require_usable(name: str, loader: DataLoader) -> None:
        if not isinstance(loader, DataLoader):
            raise InputError(f"{name}: expected a torch.utils.data.DataLoader, got {type(loader).__name__}.")
        if isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__len__"):
            raise InputError(f"{name}: expected a data set with a length and indices, got an iterable one.")
        if loader.batch_size is None:
            raise InputError(f"{name}: expected a batch size, got a loader with a batch sampler or without batches.")
        n = len(loader.dataset)
        if not n:
            raise InputError(f"{name}: expected samples, got an empty data set.")
        if loader.drop_last:
            raise InputError(
                f"{name}: drop_last=True leaves out the last {n % loader.batch_size} of {n} rows at this batch size; "
                "influence counts every row. Pass drop_last=False."
            )
        if isinstance(loader.sampler, SequentialSampler) and len(loader.sampler) == n:
            return
        once, again = _order(loader), _order(loader)
        if once != again:
            raise InputError(
                f"{name}: two passes give the rows in different order, so scores could not be matched to rows. "
                "Pass shuffle=False (and no random sampler)."
            )
        if once != list(range(n)):
            raise InputError(
                f"{name}: its sampler gives {len(once)} rows in an order of its own, the data set has {n}; indices "
                "mean rows of the data set. Pass a torch.utils.data.Subset, without a sampler."
            )


def map_tensors(function: Callable[[Tensor], Tensor], batch: Any) -> Any:
    """Apply a function to every tensor of a batch, keeping its structure.

    Raises:
        InputError: something in it is neither tensor, nor tuple, list or dict.
    """
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, Mapping):
        return {key: map_tensors(function, value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(function, value) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(map_tensors(function, value) for value in batch)
    raise InputError(
        f"batch: expected tensors in tuples, lists or dicts, got {type(batch).__name__}; give the loader a collate_fn "
        "that makes tensors."
    )


def leaves(batch: Any) -> list[Tensor]:
    """The tensors of a batch, in order."""
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, batch)  # type: ignore[func-returns-value]
    return found


def leaf_sizes(batch: Any) -> list[int] | None:
    """Length of the first axis of every tensor; None if one has no axis."""
    found = leaves(batch)
    return None if any(leaf.ndim == 0 for leaf in found) else [len(leaf) for leaf in found]


def n_bytes(batch: Any) -> int:
    """Memory of the tensors of a batch."""
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves(batch))


def concatenated(batches: list[Any]) -> Any:
    """One batch of several that have the same structure."""
    columns = iter([torch.cat(parts) for parts in zip(*(leaves(batch) for batch in batches), strict=True)])
    return map_tensors(lambda _: next(columns), batches[0])


def _order(loader: DataLoader) -> list[int]:
    """Rows in the order of the sampler, without touching the state of random generators."""
    generators = [g for g in (loader.generator, getattr(loader.sampler, "generator", None)) if g is not None]
    states = [generator.get_state() for generator in generators]
    with torch.random.fork_rng(devices=[]):
        torch.random.seed()
        rows = [int(row) for row in loader.sampler]
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    return rows
