"""Feeders as a generator of daily profiles: the days of some of its meters, and its documented files beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from unlearn.generators.base import Generator
from unlearn.generators.feeder.config import FeederOptions, GeneratorConfig

if TYPE_CHECKING:
    from unlearn.households.profiles import DailyProfiles


@dataclass(frozen=True)
class FeederGenerator(FeederOptions, Generator):
    """Days of the meters of feeders; knows no household data. Settings are those of `FeederOptions`, and

    Attributes:
        name: of its releases.
        profile_classes: probability of each customer class among the meters whose days are released.
    """

    learns: ClassVar[bool] = False

    name: str = field(default="feeder", compare=False)
    profile_classes: Mapping[str, float] = field(default_factory=lambda: {"residential": 1.0})

    def release(
        self, train: DailyProfiles, n: int, seed: int = 0, folder: Path | None = None, shared: Path | None = None
    ) -> DailyProfiles:
        """Release days of meters in steps of an hour; of the training households nothing is used.

        Raises:
            InputError: more days than the meters have, or probabilities that are none.
        """
        from unlearn.generators.feeder.hourly import daily_profiles

        config = self.config(seed, customer_classes=self.profile_classes)
        return replace(daily_profiles(config, n, seed), name=self.name)

    def feeder(self, seed: int, folder: Path) -> dict[str, Any]:
        """Write the documented files into a folder and return the tables.

        Raises:
            DataError: a check of what was generated failed.
        """
        from unlearn.generators.feeder.pipeline import SyntheticDataPipeline

        pipeline = SyntheticDataPipeline(self.config(seed, output_dir=folder))
        outputs = pipeline.generate_all()
        pipeline.save_outputs(outputs)
        return outputs

    def config(self, seed: int, **changed: Any) -> GeneratorConfig:
        """The settings of one run of the documented generator."""
        own = {own.name: getattr(self, own.name) for own in fields(FeederOptions)}
        return GeneratorConfig(random_seed=seed, **{**own, **changed})
