"""Baselines on disk: what they learnt as safetensors, and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors.numpy import save_file

from unlearn.checks import FloatArray
from unlearn.records import write_atomically, write_json


class Baseline(Protocol):
    """A detector whose learnt numbers are arrays."""

    @property
    def name(self) -> str: ...

    def arrays(self) -> dict[str, FloatArray]:
        """What was learnt; empty where it has no file format but pickles."""
        ...


def save_baseline(detector: Baseline, folder: Path) -> None:
    """Write `card.json`, and `weights.safetensors` where there are any."""
    arrays = {name: np.ascontiguousarray(value) for name, value in detector.arrays().items()}
    if arrays:
        write_atomically(folder / "weights.safetensors", lambda file: save_file(arrays, file))
    note = {} if arrays else {"note": "Not kept: it would be a pickle. The same windows and seed fit it again."}
    write_json({**getattr(detector, "card", {}), "kind": detector.name, **note}, folder / "card.json")
