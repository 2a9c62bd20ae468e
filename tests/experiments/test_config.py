"""Every configuration composes, fills its schema and builds; a misspelt key is refused."""

import functools
from pathlib import Path
from typing import cast

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import unlearn
from experiments.anomaly import build_detector
from experiments.app import CONF, to_config
from experiments.build import build_cost, build_split
from experiments.schema import Config, with_forecaster
from unlearn.detectors import DETECTORS
from unlearn.errors import InputError

GROUPS = (
    "data", "grid", "forecaster", "criterion", "unlearning", "ihvp", "households", "generator", "buildings",
    "experiment", "sweep", "hydra/launcher",
)  # fmt: skip
#: What a group's choice cannot do without.
NEEDED = {
    "data=tables": ["data.load_csv=load.csv"],
    "unlearning=time_range": ["unlearning.start=2007-01-01", "unlearning.end=2007-02-01"],
    "unlearning=mask": ["unlearning.mask=mask.parquet"],
    "buildings=lead": ["buildings.path=train.csv"],
    "households=npz": ["households.path=sample.npz"],
    "households=lcl": ["households.path=lcl"],
    "households=table": ["households.path=meters.csv"],
}


def choices() -> list[str]:
    return [f"{group}={path.stem}" for group in GROUPS for path in sorted(Path(CONF, group).glob("*.yaml"))]


@functools.cache
def by_hydra(*overrides: str) -> DictConfig:
    with initialize_config_dir(config_dir=CONF, version_base="1.3"):
        return compose("config", overrides=list(overrides))


def composed(*overrides: str) -> Config:
    """The same as by Hydra alone, which takes half a second: choices of groups are composed once, settings put in."""
    settings = [own for own in overrides if own[0] != "+" and own.split("=")[0] not in GROUPS]
    raw = by_hydra(*(own for own in overrides if own not in settings))
    return to_config(cast(DictConfig, OmegaConf.merge(raw, OmegaConf.from_dotlist(settings))))


def test_settings_come_to_the_same_as_by_hydra() -> None:
    settings = ["experiment=tiny", "protocol=published", "seed=3", "anomaly.detectors=[level]", "models=/some/where"]
    settings += [
        "poisoning.attacks=[{kind: ramp, strength: -0.5}]",
        "thresholds.run=null",
        "training.learning_rate=1e-3",
    ]
    assert composed(*settings) == to_config(by_hydra(*settings))


@pytest.mark.parametrize("choice", choices())
def test_every_choice_of_every_group_composes(choice: str) -> None:
    config = composed(choice, *NEEDED.get(choice, []))
    assert isinstance(config, Config)
    assert config.unlearning.select_by == config.forecaster.select_by


def test_there_are_choices_in_every_group() -> None:
    groups = {choice.split("=")[0] for choice in choices()}
    assert groups == set(GROUPS)


@pytest.mark.parametrize("forecaster", ["linear", "cnn", "mixer"])
def test_options_build_the_library_objects(forecaster: str) -> None:
    config = composed(f"forecaster={forecaster}")
    assert unlearn.TrainingOptions(**vars(config.training)) == unlearn.TrainingOptions()
    assert unlearn.IhvpOptions(**vars(config.ihvp)) == unlearn.IhvpOptions()


def test_the_grid_builds() -> None:
    assert build_cost(composed()).case.name == "ieee14"


def test_the_protocol_decides_the_split() -> None:
    assert build_split(composed("protocol=published")) == unlearn.PUBLISHED
    assert build_split(composed("protocol=fair")) == unlearn.FAIR
    assert build_split(composed("split.train=0.6")).train == 0.6
    assert build_split(composed("experiment=first_core")).core_choice == "first"


@pytest.mark.parametrize(
    "override",
    ["forcaster=cnn", "evaluation.hurs=3", "data.yaer=2006", "training.epoch=3", "unlearning.l1=0.1", "seed=two"],
)
def test_a_misspelt_key_or_a_wrong_type_is_refused(override: str) -> None:
    with pytest.raises((ConfigCompositionException, OmegaConfBaseException)):
        to_config(by_hydra(override))


def test_an_own_weather_table_is_added_by_name() -> None:
    config = composed("data=tables", "data.load_csv=load.csv", "+data.weather.temperature_c=t.csv")
    assert config.data.weather == {"temperature_c": "t.csv"}  # type: ignore[attr-defined]


def test_an_unknown_forecaster_of_the_paper_is_named() -> None:
    with pytest.raises(InputError, match=r"paper\.forecasters: expected one of cnn, linear, mixer; got 'lstm'"):
        with_forecaster(composed("paper.forecasters=[lstm]"), "lstm")


@pytest.mark.parametrize("name", DETECTORS.names())
def test_detectors_are_configured_as_the_library_defaults(name: str) -> None:
    assert build_detector(composed(), name) == DETECTORS[name]()
