"""Which detector finds anomalies in meter readings: `python -m experiments.anomaly`.

On real households, with every detector (`iforest` and `lof` need the extra `anomaly`):

    python -m experiments.anomaly households=npz households.path=sample.npz \\
      "anomaly.detectors=[level,seasonal,linear,cnn,mixer,ecod,iforest,lof,autoencoder,gan]"

and on labelled buildings with `buildings=lead buildings.path=train.csv`. Detectors are fitted, scored and judged on the
same windows; thresholds come from other buildings than those reported on. Interrupt it, run it again, it goes on.
"""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd

from experiments.app import experiment
from experiments.build import build_households
from experiments.endings import Ending, number
from experiments.schema import Config
from experiments.schema_anomaly import HouseholdBuildingsConfig, RuleConfig
from experiments.together import publish
from unlearn.detectors import DETECTORS, Detector, DivisionOptions, ThresholdRule
from unlearn.detectors.base import label_of
from unlearn.households.buildings import buildings_of
from unlearn.households.io.sources import load_buildings
from unlearn.households.options import InjectionOptions
from unlearn.studies.detection.options import DetectionOptions
from unlearn.studies.detection.outputs import write_outputs
from unlearn.studies.detection.run import DetectionStudy
from unlearn.studies.detection.verdict import AnomalyTable


@experiment(keeps=lambda config: config.anomaly.folder)
def main(config: Config, folder: Path) -> Ending:
    """Write files of each detector and seed, records, figure and page, and print what they say."""
    study = build_detection(config)
    tables = []
    for judged in study.judged():
        write_outputs(judged, study.options.rule, folder)
        tables.append(judged.records)
    records = pd.concat(tables, ignore_index=True)
    page = publish(config, "anomaly", records, folder)
    rule = AnomalyTable(records).rule
    own = records[records["split"].eq("test") & records["at"].isna() & records["kind"].isna()]
    found = own[own["metric"].eq("f1") & own["level"].eq("window") & own["rule"].eq(rule)]
    best = str(found.groupby("detector")["value"].mean().idxmax())
    said = label_of(best)
    numbers = [
        number(f"F1 of windows, {said} (the best)", own, metric="f1", level="window", rule=rule, detector=best),
        number(f"F1 of hours, {said}", own, metric="f1", level="hour", rule=rule, detector=best),
        number(f"PR-AUC of windows, {said}", own, metric="pr_auc", level="window", detector=best),
    ]
    return Ending(numbers, page)


def build_detection(config: Config) -> DetectionStudy:
    """The study of a configuration."""
    own, buildings = config.anomaly, config.buildings
    options = DetectionOptions(
        tuple(build_detector(config, name) for name in own.detectors),
        tuple(own.seeds),
        build_rule(own.rule),
        own.draws,
        DivisionOptions(**asdict(own.division)),
        own.folder,
    )
    if not isinstance(buildings, HouseholdBuildingsConfig):
        return DetectionStudy(load_buildings(**asdict(buildings)), options)
    injection = InjectionOptions(buildings.injection.share, tuple(buildings.injection.kinds))
    return DetectionStudy(buildings_of(build_households(config), buildings.start, buildings.end), options, injection)


def build_detector(config: Config, name: str) -> Detector:
    """A detector with the settings of its name."""
    own: Detector = _filled(DETECTORS[name], getattr(config.anomaly, name, {}))
    return own


def build_rule(config: RuleConfig) -> ThresholdRule:
    """The rule of a threshold."""
    return ThresholdRule(config.kind, config.at)


def _filled(cls: type, settings: Any) -> Any:
    """An option class, and those within it, from settings of the same names."""
    hints, own = get_type_hints(cls), vars(settings) if is_dataclass(settings) else settings
    return cls(**{name: _filled(hints[name], v) if is_dataclass(v) else v for name, v in own.items()})


if __name__ == "__main__":
    main()
