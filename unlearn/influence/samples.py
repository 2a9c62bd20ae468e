"""The rows behind a loader, in the data set's own order: fetched by index, kept in memory where they fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler, TensorDataset
from torch.utils.data.dataloader import default_collate

from unlearn.checks import IntArray
from unlearn.errors import InputError, UnlearnError
from unlearn.influence.module import told

#: Data sets whose rows take up to this many bytes stay in memory, collated once.
KEPT_BYTES = 2**30


class Samples:
    """Rows of a loader's data set, as batches on a device.

    The loader gives the data set, the batch size and how to collate; rows are those of the data set, also where the
    loader shuffles them. Rows whose tensors can be concatenated are `columns`: any selection of them is one indexing
    operation.

    Attributes:
        size: number of rows N.
        batch_size: that of the loader.
        columns: all rows as one batch, or None where they do not fit or cannot be concatenated.
    """

    def __init__(self, name: str, loader: DataLoader, device: torch.device | str) -> None:
        """Check the loader.

        Raises:
            InputError: no loader with indices and a batch size, an empty data set, a loader that skips or repeats
                rows, or always drops the last ones.
        """
        self._require_usable(name, loader)
        self.name = name
        self.size = len(loader.dataset)  # type: ignore[arg-type]
        self.batch_size = int(loader.batch_size or 1)
        self._loader, self._device = loader, torch.device(device)
        self._dataset: Dataset = loader.dataset
        if type(self._dataset) is TensorDataset and loader.collate_fn is default_collate:
            self.columns: Any = [tensor.to(self._device) for tensor in self._dataset.tensors]
        else:
            self.columns = self._gathered()

    def take(self, rows: IntArray) -> Any:
        """Batch of these rows, in this order."""
        if self.columns is not None:
            index = torch.from_numpy(rows).to(self._device)
            return map_tensors(lambda column: column[index], self.columns)
        return self._collated(self._items(rows.tolist()))

    def span(self, start: int, stop: int) -> Any:
        """Batch of the rows from start to stop, without a copy where they are in memory."""
        if self.columns is not None:
            return map_tensors(lambda column: column[start:stop], self.columns)
        return self.take(torch.arange(start, min(stop, self.size)).numpy())

    def sweep(self, batch_size: int) -> Iterator[tuple[Any, int]]:
        """All rows in order, as batches with their sizes."""
        if self.columns is None and self._loader.num_workers and batch_size == self.batch_size:
            yield from self._swept()
            return
        for start in range(0, self.size, batch_size):
            stop = min(start + batch_size, self.size)
            yield self.span(start, stop), stop - start

    def _swept(self) -> Iterator[tuple[Any, int]]:
        """Batches of the loader's size and their sizes, read by its workers if it has any."""
        if not self._loader.num_workers:
            for start in range(0, self.size, self.batch_size):
                rows = range(start, min(start + self.batch_size, self.size))
                yield self._collated(self._items(rows)), len(rows)
            return
        given = self._loader
        ordered = DataLoader(  # the loader with its workers, whatever its sampler
            self._dataset,
            batch_size=self.batch_size,
            collate_fn=given.collate_fn,
            num_workers=given.num_workers,
            worker_init_fn=given.worker_init_fn,
        )
        try:
            for start, batch in zip(range(0, self.size, self.batch_size), ordered, strict=True):
                yield self._moved(batch), min(self.batch_size, self.size - start)
        except UnlearnError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.name}: expected workers that read and collate every row, got {told(error)}."
            ) from error

    def batches_and_rows(self, size: int) -> Iterator[tuple[Any, list[Any]]]:
        """All rows in order, as batches and as batches of one, with every row read once."""
        for start in range(0, self.size, size):
            items = self._items(range(start, min(start + size, self.size)))
            yield self._collated(items), [self._collated([item]) for item in items]

    def _items(self, rows: Sequence[int]) -> list[Any]:
        many = getattr(self._dataset, "__getitems__", None)
        try:
            return list(many(list(rows))) if many is not None else [self._dataset[i] for i in rows]
        except Exception as error:
            raise InputError(
                f"{self.name}: expected a data set that gives rows {rows[0]} to {rows[-1]} by their index, got "
                f"{told(error)}."
            ) from error

    def _collated(self, items: list[Any]) -> Any:
        try:
            return self._moved(self._loader.collate_fn(items))
        except UnlearnError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.name}: expected a collate_fn that makes a batch of {len(items)} rows, got {told(error)}."
            ) from error

    def _gathered(self) -> Any:
        """Rows of any other data set, collated once, if their size allows."""
        first = self.take_first()
        sizes = leaf_sizes(first)
        share = min(self.batch_size, self.size)
        n_bytes = sum(leaf.numel() * leaf.element_size() for leaf in leaves(first))
        if sizes is None or set(sizes) != {share} or n_bytes * (self.size / share) > KEPT_BYTES:
            return None
        if not are_slices(first, [self._collated(self._items([0]))]):
            # What a row is depends on the rows that it is collated with.
            return None
        batches = [batch for batch, _ in self._swept()]
        shapes = {tuple(leaf.shape[1:] for leaf in leaves(batch)) for batch in batches}
        if len(shapes) != 1:
            return None
        columns = iter([torch.cat(parts) for parts in zip(*map(leaves, batches), strict=True)])
        return map_tensors(lambda _: next(columns), batches[0])

    def take_first(self) -> Any:
        """The first batch as the data set gives it now; two calls differ if the data set is random."""
        return self._collated(self._items(range(min(self.batch_size, self.size))))

    def fingerprint(self) -> str:
        """SHA-256 over all rows, read batch by batch: structure, dtypes, shapes and values."""
        digest = hashlib.sha256(f"{self.size} rows".encode())
        for batch in (
            [self.columns] if self.columns is not None else (batch for batch, _ in self.sweep(self.batch_size))
        ):
            _add(digest, batch)
        return digest.hexdigest()

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
        try:
            n = len(loader.dataset)
        except Exception as error:
            raise InputError(f"{name}: expected a data set with a length, got {told(error)}.") from error
        if not n:
            raise InputError(f"{name}: expected samples, got an empty data set.")
        shuffled = isinstance(loader.sampler, RandomSampler)
        if loader.drop_last and n % loader.batch_size and not shuffled:
            raise InputError(
                f"{name}: drop_last=True leaves out the last {n % loader.batch_size} of {n} rows at this batch size in "
                "every epoch; influence counts every row. Pass drop_last=False."
            )
        if isinstance(loader.sampler, SequentialSampler) and len(loader.sampler) == n:
            return
        order = _order(loader)
        if sorted(order) != list(range(n)):
            raise InputError(
                f"{name}: its sampler gives {len(set(order))} of the data set's {n} rows in {len(order)} draws; "
                "indices mean rows of the data set, each counted once. Pass a torch.utils.data.Subset, not a sampler."
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


def same(a: Tensor, b: Tensor) -> bool:
    """Equal, NaN to NaN too."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def are_slices(batch: Any, singles: Sequence[Any]) -> bool:
    """Whether the first rows of a batch are what they are when collated by themselves: padded ones are not."""
    whole = leaves(batch)
    for i, single in enumerate(singles):
        own = leaves(single)
        if len(own) != len(whole):
            return False
        if not all(a.ndim and len(a) == 1 and same(a[0], b[i]) for a, b in zip(own, whole, strict=True)):
            return False
    return True


def described(batch: Any) -> str:
    """Dtypes and shapes of its tensors, for messages."""
    return ", ".join(f"{str(leaf.dtype).removeprefix('torch.')} {tuple(leaf.shape)}" for leaf in leaves(batch))


def bytes_of(tensor: Tensor) -> NDArray[np.uint8]:
    """Its values as they lie in memory, for a digest; any dtype, shape (bytes,)."""
    flat = tensor.detach().cpu().resolve_conj().contiguous().reshape(-1)
    values: NDArray[np.uint8] = flat.view(torch.uint8).numpy()
    return values


def _add(digest: Any, batch: Any) -> None:
    """Add a batch to a digest, so that no two structures look alike."""
    if isinstance(batch, Tensor):
        digest.update(f"{batch.dtype}{tuple(batch.shape)}:".encode())
        digest.update(bytes_of(batch))
        return
    parts = list(batch.items()) if isinstance(batch, Mapping) else list(enumerate(batch))
    digest.update(f"{len(parts)} parts:".encode())
    for key, value in parts:
        digest.update(f"{key!r}:".encode())
        _add(digest, value)


def leaves(batch: Any) -> list[Tensor]:
    """The tensors of a batch, in order."""
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, batch)  # type: ignore[func-returns-value]
    return found


def leaf_sizes(batch: Any) -> list[int] | None:
    """Length of the first axis of every tensor; None if one has no axis."""
    found = leaves(batch)
    return None if any(leaf.ndim == 0 for leaf in found) else [len(leaf) for leaf in found]


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
