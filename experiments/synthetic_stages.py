"""Stages that `synthesize`, `fidelity` and `utility` share: households, their division, releases, kept records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import unlearn
from experiments.build import build_households
from experiments.internal import only_for_owner
from experiments.private_faraday import fit_configured, public_start
from experiments.schema import Config
from experiments.schema_private import PrivateFaradayConfig
from experiments.schema_synthetic import FaradayConfig, FeederConfig, SimulatorConfig
from unlearn.checks import require_choice, require_count
from unlearn.errors import DataError, InputError
from unlearn.generators import BASELINES
from unlearn.generators.faraday import (
    FaradayOptions,
    LossWeights,
    MixtureOptions,
    VaeOptions,
    fit_faraday,
    save_faraday,
)
from unlearn.generators.feeder import GeneratorConfig, daily_profiles
from unlearn.households import (
    DailyProfiles,
    HouseholdProfiles,
    load_households,
    load_profiles,
    save_profiles,
    split_households,
)
from unlearn.records import (
    config_hash,
    kept_table,
    provenance,
    read_card,
    source_fingerprint,
)
from unlearn.store import create_folder, kept
from unlearn.studies.utility.bus_loads import training_days
from unlearn.studies.utility.measure import UtilityOptions

log = logging.getLogger(__name__)

#: Rooms of the library whose source releases depend on, and those that records of them depend on, too.
GENERATING = ("data", "households", "grid", "dp", "generators")
MEASURING = (*GENERATING, "forecasters", "studies")

PROFILES, MODEL = "profiles.parquet", "model"

#: Between the seeds of simulated households that are released and of those that stand for real ones.
_OTHER_PEOPLE = 1_000_003


@dataclass(frozen=True, eq=False)
class Division:
    """Households of a seed: what generators learn from, and what releases are measured on.

    Attributes:
        train: training households, all days.
        holdout: the other households, all days.
        learnt: days of training households that are not in test weeks.
        compared: the same days of the other households.
    """

    train: HouseholdProfiles
    holdout: HouseholdProfiles
    learnt: HouseholdProfiles
    compared: HouseholdProfiles


class SyntheticRun:
    """Households of a configuration, and releases of its generators, each kept on disk."""

    def __init__(self, config: Config) -> None:
        own = config.synthesis
        require_count("synthesis.profiles", own.profiles)
        if not own.seeds or len(set(own.seeds)) != len(own.seeds):
            raise InputError(f"synthesis.seeds: expected at least one seed, each once, got {list(own.seeds)}.")
        for name in (*config.fidelity.beside, *config.utility.beside):
            require_choice("beside", name, BASELINES)
        self.config = config
        self.folder = Path(own.folder)
        self.households = build_households(config)

    def divide(self, seed: int) -> Division:
        """Divide households and weeks."""
        own = self.config.synthesis
        train, holdout = split_households(self.households, own.holdout, seed)
        kept = [part.take(training_days(part.date, own.test_every)) for part in (train, holdout)]
        return Division(train, holdout, *kept)

    def release(self, division: Division, seed: int, kind: str | None = None) -> DailyProfiles:
        """The release of the configured generator, or of a baseline by its name; made once and kept.

        Raises:
            InputError: whatever the generator refuses.
        """
        folder = self.release_folder(division, seed, kind)
        private = kind is None and isinstance(self.config.generator, PrivateFaradayConfig)

        def make() -> None:
            start = time.perf_counter()
            only_for_owner(folder.parent)  # names of these folders depend on the data
            create_folder(folder, lambda temporary: self._generate(division.learnt, seed, kind, temporary))
            log.info("%s released in %.1f s, kept in %s", kind or self.kind, time.perf_counter() - start, folder)

        def read() -> DailyProfiles:
            if (folder / MODEL).is_dir():
                read_card(folder / MODEL)
            return load_profiles(folder / PROFILES)

        if private and folder.exists():
            try:
                released = read()
            except DataError as error:
                # A second fit would be a second release of the same households.
                raise DataError(
                    f"{error} A private release is not made anew by itself: the same privacy would be spent once more. "
                    f"Remove {folder} to do so."
                ) from error
        else:
            released = kept(folder, read, make)
        return replace(released, name=kind or self.kind)

    @property
    def kind(self) -> str:
        """The configured generator."""
        return self.config.generator.kind

    def release_folder(self, division: Division, seed: int, kind: str | None = None) -> Path:
        """Where a release is kept: named after everything that it depends on."""
        settings = asdict(self.config.generator) if kind is None else {"kind": kind}
        key: dict[str, Any] = {"generator": settings, "n": self.config.synthesis.profiles, "seed": seed}
        key |= {"learnt": division.learnt.fingerprint, "made_of": made_of(GENERATING)}
        return self.folder / "releases" / f"{kind or self.kind}-{config_hash(key)}"

    def public(self, division: Division, seed: int) -> DailyProfiles | None:
        """A sample of the public start of a private generator; None of other generators, which have none."""
        generator, learnt = self.config.generator, division.learnt
        if not isinstance(generator, PrivateFaradayConfig):
            return None
        start = public_start(generator, learnt.segments, learnt.n_steps, self.folder / "starts")
        return start.sample(self.config.synthesis.profiles, seed)

    def card(self, division: Division, seed: int) -> dict[str, Any]:
        """What a generator says of itself; its settings where it has no card of its own."""
        folder = self.release_folder(division, seed) / MODEL
        return read_card(folder) if folder.is_dir() else {"kind": self.kind, "options": asdict(self.config.generator)}

    def kept_records(self, name: str, key: dict[str, Any], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Records that were measured before with the same key, or that `make` measures."""
        file = self.folder / "records" / f"{name}-{config_hash({**key, 'made_of': made_of(MEASURING)})}.parquet"

        def measure() -> pd.DataFrame:
            start = time.perf_counter()
            only_for_owner(file.parent)
            found = make()
            log.info("%s measured in %.1f s, kept in %s", name, time.perf_counter() - start, file)
            return found

        return kept_table(file, measure)

    def _generate(self, learnt: HouseholdProfiles, seed: int, kind: str | None, folder: Path) -> None:
        n, generator = self.config.synthesis.profiles, self.config.generator
        released: DailyProfiles
        if kind is not None or self.kind in BASELINES:
            released = BASELINES[kind or self.kind](learnt, n, seed)
        elif isinstance(generator, FaradayConfig):
            model = fit_faraday(learnt, faraday_options(generator), seed)
            save_faraday(model, folder / MODEL)
            released = model.sample(n, seed)
        elif isinstance(generator, PrivateFaradayConfig):
            private = fit_configured(generator, learnt, seed, self.folder / "starts")
            released = private.sample(n, seed)
            save_faraday(private, folder / MODEL)  # last, so that a run that is killed leaves no model
        elif isinstance(generator, FeederConfig):
            compared = replace(feeder_config(generator, seed, folder), customer_classes=dict(generator.profile_classes))
            released = daily_profiles(compared, n, seed)
        elif isinstance(generator, SimulatorConfig):
            options = {name: value for name, value in asdict(generator).items() if name != "kind"}
            simulated = load_households("simulator", seed=_OTHER_PEOPLE + seed, **options)
            released = BASELINES["resampled"](simulated, n, seed)
        else:
            raise InputError(
                "generator.kind: expected faraday, private_faraday, feeder, simulator or a baseline, got "
                f"{self.kind!r}."
            )
        save_profiles(replace(released, name=kind or self.kind), folder / PROFILES)


def faraday_options(config: FaradayConfig) -> FaradayOptions:
    """The library's options of a configured Faraday."""
    vae = asdict(config.vae)
    return FaradayOptions(
        VaeOptions(**{**vae, "loss": LossWeights(**vae["loss"])}), MixtureOptions(**asdict(config.mixture))
    )


def feeder_config(config: FeederConfig, seed: int, folder: Path) -> GeneratorConfig:
    """The library's settings of a configured feeder generator."""
    settings = {name: value for name, value in asdict(config).items() if name not in ("kind", "profile_classes")}
    return GeneratorConfig(random_seed=seed, output_dir=folder, **settings)


def utility_options(config: Config) -> UtilityOptions:
    """The library's options of how utility is measured."""
    own = {name: value for name, value in asdict(config.utility).items() if name != "beside"}
    own |= {name: tuple(own[name]) for name in ("tasks", "forecasters")}
    training = unlearn.TrainingOptions(**asdict(config.training))
    return UtilityOptions(
        **own, test_every=config.synthesis.test_every, training=training, hours=config.evaluation.hours
    )


def made_of(rooms: Sequence[str]) -> dict[str, Any]:
    """Versions, and the source of some rooms of the library."""
    library = Path(unlearn.__file__).parent
    sources = {room: source_fingerprint(library / room) for room in rooms}
    return {"versions": provenance()["versions"], "sources": sources}
