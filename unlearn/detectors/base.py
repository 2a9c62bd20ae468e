"""What a detector of anomalies is: one class with its settings, what it fits, and the names of those built in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from unlearn.checks import FloatArray, require_choice, require_finite, require_package, require_shape, short_repr
from unlearn.errors import InputError
from unlearn.registry import Registry

if TYPE_CHECKING:
    from unlearn.detectors.windows import Windows

#: How a window is scored: "own" is what the detector says of it, "mean" and "max" are taken over its hours.
REDUCTIONS = ("own", "mean", "max")


@short_repr
@dataclass(frozen=True, eq=False)
class WindowScores:
    """Scores of N windows of W hours; the larger, the more anomalous.

    Attributes:
        window: of each window as a whole, shape (N,).
        hour: of each of its hours, shape (N, W). A detector that sees windows only as a whole repeats its score.
    """

    window: FloatArray
    hour: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", np.asarray(self.window, dtype=np.float64))
        object.__setattr__(self, "hour", np.asarray(self.hour, dtype=np.float64))
        require_shape("window scores", self.window, (len(self.hour),))
        require_finite("window scores", self.window)
        require_finite("hour scores", self.hour)

    def by_hour(self, windows: Windows) -> FloatArray:
        """Score of every hour of the series: the mean over the windows that it lies in, shape (M, T), NaN in none."""
        return windows.mean_by_hour(self.hour)

    def reduced(self, how: str) -> WindowScores:
        """The same hours; each window scored by its hours in one of `REDUCTIONS`, the same choices for every detector.

        Raises:
            InputError: another way.
        """
        require_choice("reduction", how, REDUCTIONS)
        if how == "own":
            return self
        return replace(self, window=self.hour.mean(axis=1) if how == "mean" else self.hour.max(axis=1))

    @property
    def reductions(self) -> tuple[str, ...]:
        """Ways that make a difference: only "own" where every hour repeats its window's score."""
        return REDUCTIONS if np.ptp(self.hour, axis=1).any() else REDUCTIONS[:1]


#: What a folder keeps of a fitted detector: a card, JSON, and the arrays of each file.
State = tuple[dict[str, Any], Mapping[str, Mapping[str, Any]]]


class FittedDetector(Protocol):
    """A detector that was fitted on normal windows of training buildings.

    One of one's own inherits from this class, has a `name` for records and writes `score`.
    """

    name: str

    def score(self, windows: Windows) -> WindowScores:
        """Score windows of any building; labels are never looked at."""
        ...

    def state(self) -> State:
        """What is kept of it.

        Returns:
            A card, JSON, in which `history` has losses of each epoch where anything was trained; and tensors or arrays
            by name for each file. No file where there is no format but pickles.
        """
        return {}, {}


class Detector(Protocol):
    """A detector: a frozen dataclass of plain settings, with the work as a method.

    One of one's own inherits from this class, has a `name` for records and writes `fit`.

    Attributes:
        name: what records call it.
        label: what figures call it.
        needs: packages beyond the library's own, by the name that they are imported by, and what follows `pip install`.
            Their versions count among what scores depend on.
    """

    name: str
    label: ClassVar[str]
    needs: ClassVar[Mapping[str, str]] = {}

    def fit(self, windows: Windows, seed: int = 0, folder: Path | None = None) -> Sequence[FittedDetector]:
        """Fit to normal windows of training buildings.

        Args:
            windows: none with an anomalous hour.
            seed: of whatever is drawn.
            folder: where a long training keeps its state, so that an interrupted one goes on; None keeps none.

        Returns:
            Candidates; where they are several, validation decides between them.
        """
        ...

    @classmethod
    def load(cls, folder: Path, card: Mapping[str, Any]) -> FittedDetector:
        """Read what `save_detector` wrote of one of its candidates.

        Args:
            folder: with the files, which were verified.
            card: of the folder.

        Raises:
            InputError: nothing can be read again.
        """
        raise InputError(
            f"{folder}: expected a detector that can be read again, such as a gan or an autoencoder, got a card of "
            f"kind {card.get('kind')!r}. Fit it again: the same windows and seed give the same one."
        )


#: Detectors by name. A class of one's own needs no name: whatever takes a name takes an object, too.
DETECTORS: Registry[type[Detector]] = Registry(
    "detector",
    {
        "level": "unlearn.detectors.baselines:Level",
        "seasonal": "unlearn.detectors.baselines:Seasonal",
        "median": "unlearn.detectors.baselines:Median",
        "linear": "unlearn.detectors.baselines:LinearForecast",
        "cnn": "unlearn.detectors.baselines:CnnForecast",
        "mixer": "unlearn.detectors.baselines:MixerForecast",
        "ecod": "unlearn.detectors.baselines:Ecod",
        "iforest": "unlearn.detectors.baselines:IsolationForest",
        "lof": "unlearn.detectors.baselines:LocalOutlierFactor",
        "autoencoder": "unlearn.detectors.options:Autoencoder",
        "gan": "unlearn.detectors.options:Gan",
    },
)
#: A detector by its name with its default settings; an object is returned as it is.
make_detector: Callable[[str | Detector], Detector] = DETECTORS.make


def require_detectors(detectors: Sequence[str | Detector]) -> list[Detector]:
    """Return detectors, and refuse those that cannot be fitted before any is.

    Raises:
        InputError: none, one name twice, an unknown one, or one whose package is not installed.
    """
    found = DETECTORS.make_all(detectors)
    for detector in found:
        for package, install in detector.needs.items():
            require_package(f"detector {detector.name}", package, install)
    return found


def fit_candidates(
    detector: str | Detector, windows: Windows, seed: int = 0, folder: Path | None = None
) -> Sequence[FittedDetector]:
    """Fit a detector, by its name with its default settings or as an object; see `Detector.fit`."""
    (found,) = require_detectors([detector])
    return found.fit(windows, seed, folder)


def label_of(name: str) -> str:
    """What figures and sentences call a detector; one without a name in the registry is called as in its records."""
    return DETECTORS[name].label if name in DETECTORS else name
