"""Scores of a detector, made and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import BoolArray, FloatArray, IntArray, short_repr
from unlearn.data.files import foreign_errors
from unlearn.detectors.base import FittedDetector, WindowScores
from unlearn.detectors.metrics import Ranking
from unlearn.detectors.windows import Division, Windows
from unlearn.errors import InputError, MismatchError
from unlearn.households.buildings import BuildingSeries
from unlearn.limits import require_npz
from unlearn.store import BLANK_SEAL, read_verified, write

#: Splits that are scored, and the levels of their metrics.
SPLITS, LEVELS = ("validation", "test"), ("window", "hour")


@short_repr
@dataclass(frozen=True, eq=False)
class Scored:
    """Rows of one split and level: windows, or hours that lie in any window and have a reading of their own.

    Attributes:
        score: the larger, the more anomalous, shape (n,).
        label: whether a row is anomalous; a window is where any of its hours is, shape (n,).
        building: position of its name in the archive, shape (n,).
        start: position of its first hour, shape (n,).
        kind: what was injected, −1 where nothing was or where it is a window, shape (n,).
        kwh: the reading of an hour; NaN of a window and where readings are left out, shape (n,).
    """

    score: FloatArray
    label: BoolArray
    building: IntArray
    start: IntArray
    kind: IntArray
    kwh: FloatArray

    def __len__(self) -> int:
        return len(self.score)

    def ranking(self) -> Ranking:
        return Ranking(self.label, self.score)


@short_repr
@dataclass(frozen=True, eq=False)
class ScoreArchive:
    """What a detector said of validation and test buildings after training time.

    Attributes:
        detector: name in the registry.
        variant: what validation chose: lag, and how hours make up the score of a window.
        seed: of division and detector.
        data: name of the readings.
        buildings: names.
        kinds: names of the injected anomalies; none where labels came with the data.
        first_hour: the series' first hour, as text.
        length: hours of a window.
        validation_window: windows of validation buildings.
        validation_hour: their hours.
        test_window: windows of test buildings.
        test_hour: their hours.
    """

    detector: str
    variant: str
    seed: int
    data: str
    buildings: tuple[str, ...]
    kinds: tuple[str, ...]
    first_hour: str
    length: int
    validation_window: Scored
    validation_hour: Scored
    test_window: Scored
    test_hour: Scored

    def of(self, split: str, level: str) -> Scored:
        """Rows of one of `SPLITS` and one of `LEVELS`."""
        found: Scored = getattr(self, f"{split}_{level}")
        return found

    def without_readings(self) -> ScoreArchive:
        """The same with NaN for every reading."""
        own = {part: getattr(self, part) for part in _PARTS}
        return replace(self, **{name: replace(part, kwh=np.full(len(part), np.nan)) for name, part in own.items()})

    def with_readings(self, series: BuildingSeries) -> ScoreArchive:
        """The same with the readings of its hours.

        Args:
            series: that was scored.

        Raises:
            MismatchError: the series has other buildings, or begins at another hour.
        """
        if series.buildings != self.buildings or str(series.hours[0]) != self.first_hour:
            raise MismatchError(
                f"{self.data}: expected the readings that were scored, of {len(self.buildings)} buildings from "
                f"{self.first_hour}, got {len(series.buildings)} from {series.hours[0]}. Pass those."
            )
        own = {name: getattr(self, name) for name in _PARTS if name.endswith("hour")}
        return replace(
            self, **{name: replace(part, kwh=series.kwh[part.building, part.start]) for name, part in own.items()}
        )

    def hour(self, start: IntArray) -> NDArray[np.datetime64]:
        """Times of positions in the series."""
        return np.datetime64(self.first_hour, "h") + start


_PARTS = tuple(f"{split}_{level}" for split in SPLITS for level in LEVELS)
_PLAIN = tuple(field.name for field in fields(ScoreArchive) if field.name not in _PARTS)


def scored_windows(windows: Windows, scores: WindowScores) -> Scored:
    """Windows with their scores."""
    n = len(windows)
    return Scored(scores.window, windows.label, windows.building, windows.start, np.full(n, -1), np.full(n, np.nan))


def scored_hours(windows: Windows, scores: WindowScores) -> Scored:
    """Hours in any window, with the mean score of these; filled hours are left out."""
    series = windows.series.series
    assert series.anomaly is not None
    by_hour = scores.by_hour(windows)
    building, hour = np.nonzero(np.isfinite(by_hour) & series.measured)
    kind = np.full(len(hour), -1) if series.kind is None else series.kind[building, hour].astype(np.int64)
    return Scored(
        by_hour[building, hour], series.anomaly[building, hour], building, hour, kind, series.kwh[building, hour]
    )


def save_archive(
    archive: ScoreArchive, path: Path, *, readings: bool = False, thresholds: Mapping[str, float] | None = None
) -> Path:
    """Write a NumPy archive: arrays named `validation_window_score` and so on, names as text, and thresholds.

    The file has mode 600: names of buildings and their hours are in it.

    Args:
        archive: what a detector said.
        path: the file.
        readings: whether readings in kWh are kept, too; `ScoreArchive.with_readings` puts them back from the series.
        thresholds: values by level.
    """
    archive = archive if readings else archive.without_readings()
    arrays = {name: np.array(getattr(archive, name)) for name in _PLAIN}
    for part in _PARTS:
        arrays |= {f"{part}_{name}": value for name, value in asdict(getattr(archive, part)).items()}
    arrays |= {f"threshold_{name}": np.array(value) for name, value in (thresholds or {}).items()}

    def fill(file: Path) -> None:
        with file.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
        with ZipFile(file, "a") as whole:
            whole.comment = BLANK_SEAL

    write(path, fill, confidential=True, sealed=True)
    return path


def load_archive(path: Path) -> ScoreArchive:
    """Read what `save_archive` wrote.

    Raises:
        DataError: no such file, a damaged one, or not such an archive.
    """
    content = read_verified(path, mend="Run the experiment again.")
    with foreign_errors(path, "scores of a detector", "Run the experiment again."):
        with np.load(BytesIO(content), allow_pickle=False) as file:
            require_npz(path, file)
            parts = {
                part: Scored(**{field.name: file[f"{part}_{field.name}"] for field in fields(Scored)})
                for part in _PARTS
            }
            plain = {name: file[name] for name in _PLAIN}
        return ScoreArchive(
            detector=str(plain["detector"]),
            variant=str(plain["variant"]),
            seed=int(plain["seed"]),
            data=str(plain["data"]),
            buildings=tuple(map(str, plain["buildings"])),
            kinds=tuple(map(str, plain["kinds"])),
            first_hour=str(plain["first_hour"]),
            length=int(plain["length"]),
            **parts,
        )


def require_labels(division: Division) -> None:
    """Refuse a division that nothing can be measured on.

    Raises:
        InputError: no labels, or windows of validation or test buildings that are all normal or all anomalous.
    """
    for split in SPLITS:
        label = getattr(division, split).label
        if label.all() or not label.any():
            what = "anomalous" if label.all() else "normal"
            raise InputError(
                f"{division.scaled.series.name}: expected normal and anomalous windows of {split} buildings after "
                f"training time, got {len(label)} that are all {what}. Give more buildings, or change the share that "
                "is injected."
            )


def score_division(
    candidates: Sequence[FittedDetector], division: Division, name: str, seed: int
) -> tuple[ScoreArchive, FittedDetector]:
    """Score validation and test buildings.

    Of all candidates, and all ways to score a window by its hours, the one with the highest area under the
    precision-recall curve of validation windows is taken.

    Args:
        candidates: fitted on `division.train`.
        division: of labelled readings.
        name: of the detector.
        seed: of division and detector.

    Returns:
        The scores, and the candidate that was taken.

    Raises:
        InputError: readings without labels, or a part without normal or anomalous windows.
    """
    require_labels(division)
    chosen, how, validation = _choose(candidates, division)
    test = chosen.score(division.test).reduced(how)
    series = division.scaled.series
    archive = ScoreArchive(
        detector=name,
        variant=chosen.name if how == "own" else f"{chosen.name}, {how} over hours",
        seed=seed,
        data=series.name,
        buildings=series.buildings,
        kinds=series.kinds,
        first_hour=str(series.hours[0]),
        length=division.test.length,
        validation_window=scored_windows(division.validation, validation),
        validation_hour=scored_hours(division.validation, validation),
        test_window=scored_windows(division.test, test),
        test_hour=scored_hours(division.test, test),
    )
    return archive, chosen


def _choose(candidates: Sequence[FittedDetector], division: Division) -> tuple[FittedDetector, str, WindowScores]:
    """The candidate, the reduction and the validation scores of the highest area; the first of equals."""
    best: tuple[float, FittedDetector, str, WindowScores] | None = None
    for candidate in candidates:
        scores = candidate.score(division.validation)
        for how in scores.reductions:
            own = scores.reduced(how)
            area = Ranking(division.validation.label, own.window).pr_auc()
            if best is None or area > best[0]:
                best = (area, candidate, how, own)
    assert best is not None
    return best[1:]
