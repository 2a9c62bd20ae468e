"""What `unlearn` writes down of a deletion: what was forgotten when, of which model, and what still knows it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from unlearn.evaluation import Study
from unlearn.unlearning import Forgotten


def evidence(result: Forgotten, study: Study, before: Path, after: Path) -> dict[str, Any]:
    """Describe a deletion; plain values.

    Args:
        result: what was forgotten.
        study: the model it was forgotten from, and its data.
        before: folder of that model.
        after: folder of the model that has forgotten.

    Returns:
        Hours and loads, when, whether it is complete, distance to the retrained model, folders and SHA-256 of the files
        of both models, the limitations in sentences.
    """
    return {
        **result.model.card.forgotten[-1],
        "distance_to_retrained": result.distance_to_retrained,
        "model_before": _described(before),
        "model_after": _described(after),
        "data": study.dataset.fingerprint,
        "declared": [
            *result.declared,
            f"The model before still lies in {before.resolve()}, and knows what was forgotten, as do copies of it and "
            "the data itself. Destroy them to end that.",
        ],
        "statistics": result.statistics,
    }


def _described(folder: Path) -> dict[str, Any]:
    """Where a model lies, and the SHA-256 of its files, as `sha256sum` gives it."""
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    return {"folder": str(folder.resolve()), "sha256": files}
