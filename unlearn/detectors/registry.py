"""Detectors by name: all are fitted on the same windows, and scored on the same others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from unlearn.checks import require_choice, require_count
from unlearn.detectors.autoencoder import AutoencoderOptions, fit_autoencoder
from unlearn.detectors.base import FittedDetector
from unlearn.detectors.baselines.forecast import fit_forecast
from unlearn.detectors.baselines.pyod import KINDS as PYOD
from unlearn.detectors.baselines.pyod import PyodOptions, fit_pyod, require_pyod
from unlearn.detectors.baselines.simple import CENTRES, fit_ecod, fit_level, fit_seasonal
from unlearn.detectors.gan.adversarial import AdversarialOptions
from unlearn.detectors.gan.encoder import EncoderOptions
from unlearn.detectors.gan.fitted import GanOptions, fit_gan
from unlearn.detectors.gan.inversion import InversionOptions
from unlearn.detectors.gan.networks import NetworkOptions
from unlearn.detectors.windows import Windows
from unlearn.errors import InputError
from unlearn.forecasters.options import TrainingOptions


@dataclass(frozen=True)
class DetectorOptions:
    """Settings of all detectors.

    Attributes:
        lags: hours that "seasonal" may look back; validation decides which.
        training: of the forecasters "cnn" and "mixer".
        pyod: of "iforest" and "lof".
        autoencoder: of "autoencoder".
        gan: of "gan".
    """

    lags: tuple[int, ...] = (24, 168)
    training: TrainingOptions = field(
        default_factory=lambda: TrainingOptions(epochs=10, batch_size=64, learning_rate=1e-3, patience=5)
    )
    pyod: PyodOptions = field(default_factory=PyodOptions)
    autoencoder: AutoencoderOptions = field(default_factory=AutoencoderOptions)
    gan: GanOptions = field(default_factory=GanOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lags", tuple(self.lags))
        if not self.lags or len(set(self.lags)) < len(self.lags):
            raise InputError(f"lags: expected at least one, each once, got {list(self.lags)}.")
        for lag in self.lags:
            require_count("lags", lag)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Build from plain settings with the attributes' names, such as those of a configuration file."""
        gan = settings["gan"]
        return cls(
            tuple(settings["lags"]),
            TrainingOptions(**settings["training"]),
            PyodOptions(**settings["pyod"]),
            AutoencoderOptions(**settings["autoencoder"]),
            GanOptions(
                NetworkOptions(**gan["networks"]),
                AdversarialOptions(**gan["training"]),
                EncoderOptions(**gan["encoder"]),
                InversionOptions(**gan["inversion"]),
            ),
        )


#: Fits what goes by one name; several where validation decides between them. A folder keeps the state of a training.
Fit = Callable[[str, Windows, DetectorOptions, int, Path | None], Sequence[FittedDetector]]

DETECTORS: dict[str, Fit] = {
    "level": lambda name, windows, options, seed, folder: [fit_level(windows, c) for c in CENTRES],
    "seasonal": lambda name, windows, options, seed, folder: [fit_seasonal(windows, lag) for lag in options.lags],
    **dict.fromkeys(
        ("linear", "cnn", "mixer"),
        lambda name, windows, options, seed, folder: [fit_forecast(windows, name, options.training, seed)],
    ),
    "ecod": lambda name, windows, options, seed, folder: [fit_ecod(windows)],
    **dict.fromkeys(PYOD, lambda name, windows, options, seed, folder: [fit_pyod(windows, name, options.pyod, seed)]),
    "autoencoder": lambda name, windows, options, seed, folder: [fit_autoencoder(windows, options.autoencoder, seed)],
    "gan": lambda name, windows, options, seed, folder: [fit_gan(windows, options.gan, seed, folder)],
}


#: Which settings a detector depends on; the others do not matter to it.
_SETTINGS = {
    "seasonal": "lags",
    **dict.fromkeys(("cnn", "mixer"), "training"),
    **dict.fromkeys(PYOD, "pyod"),
    "autoencoder": "autoencoder",
    "gan": "gan",
}


def settings_of(name: str, options: DetectorOptions) -> dict[str, Any]:
    """The settings that a detector depends on."""
    group = _SETTINGS.get(name)
    return {} if group is None else {group: asdict(options)[group]}


def require_detectors(names: Sequence[str]) -> None:
    """Refuse detectors that cannot be fitted, before any is.

    Raises:
        InputError: none, one twice, an unknown one, or one whose package is not installed.
    """
    if not names or len(set(names)) < len(names):
        raise InputError(f"detectors: expected at least one, each once, got {list(names)}.")
    for name in names:
        require_choice("detectors", name, DETECTORS)
    if set(names) & set(PYOD):
        require_pyod()


def fit_candidates(
    name: str, windows: Windows, options: DetectorOptions | None = None, seed: int = 0, folder: Path | None = None
) -> list[FittedDetector]:
    """Fit a detector by name; several where validation decides between them.

    Args:
        name: one of `DETECTORS`.
        windows: normal windows of training buildings.
        options: settings.
        seed: of whatever is drawn.
        folder: where a long training keeps its state; None keeps none.

    Raises:
        InputError: an unknown name, or whatever the detector refuses.
    """
    require_detectors([name])
    return list(DETECTORS[name](name, windows, options or DetectorOptions(), seed, folder))
