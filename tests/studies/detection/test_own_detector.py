"""A detector that is defined here takes part in the study as those of the library do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.detectors.builders import SMALL, daily_series
from unlearn.detectors import DETECTORS, Detector, FittedDetector, Windows, WindowScores
from unlearn.detectors.base import State, label_of
from unlearn.errors import InputError, MissingPackageError
from unlearn.households.io.sources import InjectionOptions
from unlearn.records import read_json
from unlearn.studies.detection import DetectionOptions, DetectionStudy, summarise
from unlearn.studies.detection.report import figure
from unlearn.studies.detection.run import write_outputs


@dataclass(frozen=True)
class Jumps(Detector):
    """How far a reading is from the one before, in units of what is usual in training windows."""

    power: float = 1.0
    name: str = "jumps"
    label = "jumps from hour to hour"

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        return [FittedJumps(float(np.median(_jumps(windows))), power) for power in (self.power, 2 * self.power)]


@dataclass(frozen=True)
class FittedJumps(FittedDetector):
    usual: float
    power: float
    name: str = "jumps of one power"

    def score(self, windows: Windows) -> WindowScores:
        hour = (_jumps(windows) / self.usual) ** self.power
        return WindowScores(hour.max(axis=1), hour)

    def state(self) -> State:
        return {"history": {"loss": [2.0, 1.0]}}, {"weights": {"usual": np.array([self.usual])}}


def _jumps(windows: Windows) -> np.ndarray:
    return np.abs(np.diff(windows.values.astype(float), axis=1, prepend=windows.values[:, :1]))


def study(folder: Path, *detectors: str | Detector) -> DetectionStudy:
    options = DetectionOptions(detectors, seeds=(0,), draws=5, division=SMALL, folder=str(folder))
    return DetectionStudy(daily_series(10, 40), options, InjectionOptions(0.1, ("spike",)))


def test_an_object_is_fitted_scored_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, level = study(tmp_path / "kept", Jumps(), "level").judged()
    assert own.archive.detector == "jumps"
    assert read_json(own.folder / "models" / "card.json")["kind"] == "jumps of one power"
    records = pd.concat([own.records, level.records])
    f1 = records.query("metric == 'f1' and level == 'hour' and split == 'test' and rule == 'best_f1'")
    assert f1.set_index("detector")["value"]["jumps"] > 0.4
    assert any("jumps" in sentence for sentence in summarise(records))
    write_outputs(own, DetectionOptions().rule, tmp_path / "run")
    history = pd.read_csv(tmp_path / "run" / "jumps" / "seed_0" / "training_history.csv")
    assert history["loss"].tolist() == [2.0, 1.0]

    monkeypatch.setattr(Jumps, "fit", None)  # what is kept is taken
    (again,) = study(tmp_path / "kept", Jumps()).judged()
    np.testing.assert_array_equal(again.archive.test_hour.score, own.archive.test_hour.score)


def test_settings_are_part_of_the_key_and_the_name_is_for_records(tmp_path: Path) -> None:
    one, other = study(tmp_path, Jumps(), Jumps(3.0, "steep jumps")).judged()
    assert one.folder != other.folder
    assert other.archive.detector == "steep jumps"
    with pytest.raises(InputError, match=r"each name once, got \['jumps', 'jumps'\]"):
        study(tmp_path, Jumps(), Jumps(3.0))


def test_a_registered_class_goes_by_its_name_and_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
    assert label_of("jumps") == "jumps"
    DETECTORS.register("jumps")(Jumps)
    (judged,) = study(tmp_path, "jumps").judged()
    drawn = figure(judged.records)
    ticks = {text.get_text() for axis in drawn.axes for text in axis.get_yticklabels()}
    assert "jumps from hour to hour" in ticks


def test_a_package_that_is_missing_is_told_before_anything_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Jumps, "needs", {"a_package_of_nobody": "a-package"})
    with pytest.raises(MissingPackageError, match=r"detector jumps: .* a_package_of_nobody"):
        study(tmp_path, "level", Jumps())
