"""Scores on disk, chunk by chunk, so that an interrupted computation goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from unlearn.checks import IntArray
from unlearn.errors import InputError, MismatchError
from unlearn.influence.mean_loss import PATIENCE
from unlearn.records import write_atomically

#: Rows whose scores are written at once.
ROWS_A_FILE = 4096


class ScoreStore:
    """A folder with `identity.json`, `stest.safetensors` and `scores_<first row>.safetensors`.

    Files appear complete or not at all. The identity is a hash of everything that the scores follow from.
    """

    def __init__(self, folder: Path, identity: Iterable[np.ndarray | str], n_rows: int) -> None:
        """Open or make the folder.

        Raises:
            MismatchError: the folder holds the scores of another model, other rows or settings.
            InputError: the path is a file.
        """
        if folder.exists() and not folder.is_dir():
            raise InputError(f"checkpoint: expected a folder, got the file {folder}.")
        self._folder, self._n_rows = folder, n_rows
        digest = hashlib.sha256()
        for part in identity:
            digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
            digest.update(b"|")
        found, card = digest.hexdigest(), folder / "identity.json"
        if card.exists():
            if json.loads(card.read_text())["identity"] != found:
                raise MismatchError(
                    f"checkpoint: {folder} holds scores of another model, other rows or other settings; name another "
                    "folder or remove this one."
                )
            return
        text = json.dumps({"identity": found, "rows": n_rows})
        write_atomically(card, lambda temporary: temporary.write_text(text))

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
            return load_file(path)["values"]
        values = compute().detach().cpu().contiguous()
        write_atomically(path, lambda temporary: save_file({"values": values}, temporary))
        return values
