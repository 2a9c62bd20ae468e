"""What `unlearn` writes down of a deletion: what was forgotten when, of which model, and what still knows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from experiments.app import Job
from experiments.loads import KIND
from unlearn.data.files import cache_dir
from unlearn.errors import InputError
from unlearn.forecasters import destroy_forecaster, forecaster_files
from unlearn.forecasters.checkpoint import CARD
from unlearn.records import read_json, write_json
from unlearn.store.artefacts import CARD as STORED
from unlearn.studies._shared.study import Study
from unlearn.studies.paper.options import PaperOptions
from unlearn.unlearning import Forgotten

EVIDENCE = "forgotten.json"


def model_at(folder: Path) -> dict[str, Any]:
    """Folder and SHA-256 of the files of a saved model, as `sha256sum` gives it.

    Raises:
        InputError: a link, or a folder that holds anything else.
    """
    return {"sha256": dict(forecaster_files(folder)), "folder": str(folder.resolve())}


def require_single_run(job: Job) -> None:
    """Refuse to delete a model in a sweep.

    Raises:
        InputError: a sweep, with `unlearning.destroy_old`.
    """
    if job.unlearning.destroy_old and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise InputError(
            "unlearning.destroy_old: expected a single run, got a sweep, whose jobs share the model. Run the sweep "
            "without it, then the deletion that counts."
        )


def write_evidence(
    job: Job, result: Forgotten, study: Study, before: dict[str, Any], after: Path, folder: Path
) -> dict[str, Any]:
    """Write `forgotten.json`: a deletion, and what still holds what was forgotten.

    With `unlearning.destroy_old` the model before is deleted then, and the file written again. Everything else that a
    run writes must be on the disk by now.

    Args:
        job: the run.
        result: what was forgotten.
        study: the model it was forgotten from, and its data.
        before: that model, as `model_at` described it before anything was forgotten.
        after: folder of the model that has forgotten.
        folder: of the run.

    Returns:
        Hours and loads, when, whether it is complete, distance to the retrained model, folders and SHA-256 of the files
        of both models, what was destroyed, what still holds the data, the limitations in sentences.

    Raises:
        InputError: the folder of the model before is no longer what it was; nothing is deleted.
    """
    said = {
        **result.model.card.forgotten[-1],
        "distance_to_retrained": result.distance_to_retrained,
        "model_before": before,
        "model_after": model_at(after),
        "data": study.dataset.fingerprint,
        "statistics": result.statistics,
    }
    _write(said, False, job, result, folder)
    if job.unlearning.destroy_old:
        old = Path(before["folder"])
        destroy_forecaster(old, before["sha256"])
        (old.parent / STORED).unlink(missing_ok=True)  # says what the model was made from
        with suppress(OSError):  # somebody else's files stay
            old.parent.rmdir()
        _write(said, True, job, result, folder)
    return said


def _write(said: dict[str, Any], destroyed: bool, job: Job, result: Forgotten, folder: Path) -> None:
    before = said["model_before"]
    lies = (
        f"The model before lay in {before['folder']} and was deleted. Copies and backups of it, what the disk "
        "keeps of deleted files, and the data itself are as they were."
        if destroyed
        else f"The model before still lies in {before['folder']}, and knows what was forgotten, as do copies of "
        "it and the data itself. Destroy them to end that; unlearning.destroy_old=true deletes this one."
    )
    said |= {"destroyed": [before] if destroyed else [], "still_held": list(_still_held(job, result, folder, said))}
    said["limitations"] = [*result.limitations, lies]
    write_json(said, folder / EVIDENCE)


def _still_held(job: Job, result: Forgotten, folder: Path, said: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What of this installation still holds what was forgotten, or may."""
    own = job.data
    source = getattr(own, "path", None) or f"data={own.name}"
    yield {"what": "the data set, which a new fit would learn again", "where": str(source)}
    if cache_dir().is_dir():
        yield {"what": "downloaded and parsed data", "where": str(cache_dir())}
    for model in _models(job, result, folder, Path(said["model_after"]["folder"])):
        yield {"what": "a model that was fitted on these hours, with its sums", "where": str(model.resolve())}
    for kept in _kept(Path(job.store)):
        yield {"what": "kept stages and records, which may name these hours", "where": str(kept.resolve())}
    yield {"what": "copies and backups that this program does not know of", "where": "unknown"}


def _kept(store: Path) -> list[Path]:
    """Folders with other things than forecasters: those of a store, and that of the paper's records."""
    found = [*store.glob("*"), Path(PaperOptions().folder)]
    return sorted(own for own in found if own.is_dir() and own.name != KIND)


def _models(job: Job, result: Forgotten, folder: Path, after: Path) -> list[Path]:
    """Folders below those of models and of runs whose weights know the hours: forecasters, and what a kill left."""
    asked = _hours(result.hours)
    roots = {path.resolve() for path in (Path(job.store), Path("results"), folder.parent) if path.is_dir()}
    weights = {file for root in roots for file in root.rglob("*.safetensors")}
    return sorted({file.parent for file in weights if _knows(file.parent, result.model.card.data, asked)} - {after})


def _knows(folder: Path, data: str, asked: pd.DatetimeIndex) -> bool:
    """Whether a folder's model was fitted on hours of this data and has not forgotten all loads of them.

    Weights without a card that can be read count: they are what is left of a model that was being written.
    """
    try:
        card = read_json(folder / CARD)
    except InputError:
        return True
    if "head_rows" not in card or card.get("data") != data:
        return False
    whole = [event["hours"] for event in card.get("forgotten", []) if event.get("loads") is None]
    return not bool(asked.isin(_hours([run for hours in whole for run in hours])).all())


def _hours(ranges: Sequence[Sequence[str]]) -> pd.DatetimeIndex:
    """The hours of runs of hours."""
    runs = [pd.date_range(first, last, freq="h") for first, last in ranges]
    return runs[0].append(runs[1:]) if runs else pd.DatetimeIndex([])
