"""Baselines on disk: what they learnt as safetensors, and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from unlearn.checks import FloatArray
from unlearn.records import write_card, write_safetensors

WEIGHTS = "weights.safetensors"


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
    note = {} if arrays else {"note": "Not kept: it would be a pickle. The same windows and seed fit it again."}
    card = {**getattr(detector, "card", {}), "kind": detector.name, **note}
    if arrays:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        write_safetensors(tensors, folder / WEIGHTS, confidential=True)
    write_card(card, folder, [WEIGHTS] if arrays else [], confidential=True)
