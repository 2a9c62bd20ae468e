"""Scores on disk, chunk by chunk, so that an interrupted computation goes on where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import FloatArray, IntArray
from unlearn.errors import DataError, InputError, MismatchError, said
from unlearn.influence.mean_loss import PATIENCE
from unlearn.records import read_json, read_safetensors, write_json, write_safetensors

#: Rows whose scores are written at once.
ROWS_A_FILE = 4096


#: What scores follow from: texts, and arrays whose dtype and shape count as well.
Identity = Iterable[np.ndarray | str]


class ScoreStore:
    """A folder with `identity.json`, `losses.safetensors`, `stest.safetensors` and `scores_<first row>.safetensors`.

    Files appear complete or not at all. The identity is a hash of everything that the scores follow from. Losses stand
    for what has no values of its own, the functions and the layers; they are compared up to rounding.
    """

    def __init__(
        self, folder: Path, identity: Identity, n_rows: int, losses: FloatArray, tolerance: float = 0.0
    ) -> None:
        """Open or make the folder.

        Args:
            folder: where files lie.
            identity: what scores follow from.
            n_rows: rows to score.
            losses: of all rows that take part, shape (N,).
            tolerance: relative difference of losses that is rounding.

        Raises:
            MismatchError: the folder holds the scores of another model, other rows or settings.
            InputError: the path is a file, cannot be written to, or holds broken files.
        """
        if folder.exists() and not folder.is_dir():
            raise InputError(f"checkpoint: expected a folder, got the file {folder}.")
        self._folder, self._n_rows = folder, n_rows
        found, card = _digest(identity), folder / "identity.json"
        if card.exists():
            kept = self._kept(folder / "losses.safetensors", lambda: torch.from_numpy(losses)).numpy()
            same = kept.shape == losses.shape and np.allclose(kept, losses, tolerance, tolerance, equal_nan=True)
            if self._identity(card) != found or not same:
                raise MismatchError(
                    f"checkpoint: {folder} holds scores of another model, other rows or other settings; name another "
                    "folder or remove this one."
                )
            return
        try:
            self._kept(folder / "losses.safetensors", lambda: torch.from_numpy(losses))
            write_json({"identity": found, "rows": n_rows}, card)
        except OSError as error:
            raise InputError(
                f"checkpoint: expected a folder that can be written to, got {folder} ({error})."
            ) from error

    @staticmethod
    def _identity(card: Path) -> str:
        try:
            return str(read_json(card)["identity"])
        except (InputError, KeyError) as error:
            raise DataError(f"checkpoint: {card} is broken; remove the folder {card.parent}.") from error

    def stest(self, compute: Callable[[], Tensor]) -> Tensor:
        """The vector that scores are products with, computed once."""
        return self._kept(self._folder / "stest.safetensors", compute)

    def scores(self, compute: Callable[[IntArray], Tensor]) -> Tensor:
        """Scores of all rows; `compute` gets positions and is called for those that are missing."""
        starts = range(0, self._n_rows, ROWS_A_FILE)
        pieces = []
        for start in tqdm(starts, desc="scores", leave=False, delay=PATIENCE):
            part = np.arange(start, min(start + ROWS_A_FILE, self._n_rows))
            path = self._folder / f"scores_{start:09d}.safetensors"
            pieces.append(self._kept(path, lambda part=part: compute(part)))  # type: ignore[misc]
        return torch.cat(pieces) if pieces else compute(np.zeros(0, dtype=np.int64))

    @staticmethod
    def _kept(path: Path, compute: Callable[[], Tensor]) -> Tensor:
        if path.exists():
            try:
                return read_safetensors(path, "Remove it to compute it again.")["values"]
            except (InputError, KeyError) as error:
                raise DataError(f"checkpoint: {path} is broken: {said(error)}.") from error
        values = compute().detach().cpu().contiguous()
        write_safetensors({"values": values}, path)
        return values


def _digest(identity: Identity) -> str:
    digest = hashlib.sha256()
    for part in identity:
        array = np.frombuffer(part.encode(), dtype=np.uint8) if isinstance(part, str) else np.ascontiguousarray(part)
        # Dtype and shape tell where a part ends.
        digest.update(f"{type(part).__name__} {array.dtype} {array.shape}:".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
