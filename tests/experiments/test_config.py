"""Every configuration composes and builds, holds what its program uses, and refuses a misspelt key."""

import dataclasses
import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import unlearn
from experiments.app import CONF, Job, to_job
from experiments.groups import PROTOCOLS, SOURCES, Group, Program, identity
from unlearn.errors import InputError
from unlearn.records import config_hash

PROGRAMS = sorted(path.stem for path in Path(CONF).glob("*.yaml") if path.stem != "app")
#: What a group's choice cannot do without.
NEEDED = {
    "data=tables": ["data.load_csv=load.csv"],
    "buildings=lead": ["buildings.path=train.csv"],
    "households=npz": ["households.path=sample.npz"],
    "households=lcl": ["households.path=lcl"],
    "households=table": ["households.path=meters.csv"],
}


def program(name: str) -> Program:
    own: Program = importlib.import_module(f"experiments.{name}").main.program
    return own


@functools.cache
def by_hydra(name: str, *overrides: str, hydra: bool = False) -> DictConfig:
    """The settings of a program as Hydra composes them; with Hydra's own where they are asked for."""
    program(name).register()
    with initialize_config_dir(config_dir=CONF, version_base="1.3"):
        return compose(name, overrides=list(overrides), return_hydra_config=hydra)


def composed(name: str, *overrides: str) -> Job:
    """The job of a program."""
    return to_job(program(name), by_hydra(name, *overrides))


def choices() -> list[tuple[str, str, str]]:
    """Every choice of every group of every program."""
    return [
        (name, group.name, choice)
        for name in PROGRAMS
        for group in program(name).sections.values()
        if isinstance(group, Group)
        for choice in group.choices()
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_has_its_configuration_and_its_tiny_variant(name: str) -> None:
    job = composed(name)
    assert set(job.settings) == set(program(name).sections)
    if Path(CONF, name).is_dir():
        assert composed(name, "variant=tiny").tiny


def test_every_choice_of_every_group_composes() -> None:
    once = {(group, choice): name for name, group, choice in choices()}
    assert {group for group, _ in once} == {*PROTOCOLS, *SOURCES}
    for (group, choice), name in once.items():
        said = f"{group}={choice}"
        (own,) = (own for own in program(name).sections.values() if isinstance(own, Group) and own.name == group)
        job = composed(name, f"{group}=[{choice}]" if own.many else said, *NEEDED.get(said, []))
        assert job.settings[group]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_configured_values_are_the_defaults_of_the_librarys_options(name: str) -> None:
    """YAML holds deviations alone; of options that are no group's, there are none."""
    job = composed(name)
    for section, own in program(name).sections.items():
        if isinstance(own, type) and dataclasses.is_dataclass(own):
            assert getattr(job, section) == own()


def test_training_shows_what_it_uses_and_nothing_else() -> None:
    shown = OmegaConf.to_container(by_hydra("train"))
    assert set(shown) == {
        "threads", "tiny", "data", "grid", "protocol", "seed", "split", "lags", "evaluation", "store", "forecaster",
    }  # fmt: skip
    assert shown["forecaster"] == {"_target_": "unlearn.forecasters.specs.Linear", "l2": 0.0}  # type: ignore[index,call-overload]


def test_only_the_settings_of_protocols_name_a_class() -> None:
    for name in PROGRAMS:
        for section, own in cast(dict[str, Any], OmegaConf.to_container(by_hydra(name))).items():
            assert section in PROTOCOLS or "_target_" not in json.dumps(own)


@pytest.mark.parametrize(
    "name",
    [
        "train",
        "unlearn",
        "deletion",
        "leakage",
        "detection",
        "private_training",
        "tuning",
        "dp_release",
        "federated",
        "comparison",
    ],
)
def test_help_and_composition_load_neither_torch_nor_pandas(name: str) -> None:
    code = (
        f"import sys, experiments.{name} as own; from hydra import compose, initialize_config_dir; "
        f"own.main.program.register(); initialize_config_dir({CONF!r}, version_base='1.3'); compose({name!r}); "
        "print([m for m in ('torch', 'pandas', 'scipy', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_protocol_decides_the_split() -> None:
    def split(*overrides: str) -> unlearn.SplitSpec:
        job = composed("train", *overrides)
        return cast(unlearn.SplitSpec, job.split.spec(job.protocol))

    assert split("protocol=published") == unlearn.PUBLISHED
    assert split("protocol=fair") == unlearn.FAIR
    assert split("split.train=0.6").train == 0.6
    assert split("split.core_choice=first").core_choice == "first"


def test_lags_are_chosen_by_their_hours_and_are_none_by_default() -> None:
    assert composed("train").lags.chosen() is None
    assert composed("train", "lags.hours=[24,168]").lags.chosen() == unlearn.Lags()
    assert composed("train", "lags.means=[24]").lags.chosen() == unlearn.Lags((), (24,))


@pytest.mark.parametrize(
    "override", ["forcaster=cnn", "evaluation.hurs=3", "data.yaer=2006", "forecaster.l3=3", "seed=two"]
)
def test_a_misspelt_key_or_a_wrong_type_is_refused(override: str) -> None:
    with pytest.raises((ConfigCompositionException, OmegaConfBaseException)):
        composed("train", override)


def test_an_own_weather_table_is_added_by_name() -> None:
    job = composed("train", "data=tables", "data.load_csv=load.csv", "+data.weather.temperature_c=t.csv")
    assert job.data.weather == {"temperature_c": "t.csv"}
    assert job.data.temperature_features
    off = composed("train", "data=tables", "data.load_csv=load.csv", "data.temperature_features=false")
    assert not off.data.temperature_features


def test_a_variant_holds_settings_of_choices_that_are_not_made() -> None:
    job = composed("sensitivity", "variant=tiny", "forecaster=[linear,cnn]")
    assert list(job.forecaster) == ["linear", "cnn"]
    assert job.forecaster["cnn"].training.epochs == 2
    assert set(job.settings["forecaster"]) == {"linear", "cnn"}


def test_a_job_is_another_by_all_that_records_tell_and_by_no_folder() -> None:
    def key(*overrides: str) -> str:
        return config_hash(identity(composed("release", *overrides)))

    assert key("synthesis.folder=elsewhere", "threads=2") == key()
    others = [
        "generator.name=mine",
        "generator.vae.latent=3",
        "generator=simulator",
        "households.random_state=1",
        "seed=1",
    ]
    assert len({key(), *map(key, others)}) == 1 + len(others)


def test_a_class_of_ones_own_is_named_by_target() -> None:
    job = composed("train", "forecaster=cnn", "forecaster._target_=unlearn.forecasters.specs.Mixer")
    assert job.forecaster.name == "mixer"
    with pytest.raises(InputError, match=r"forecaster\._target_: expected a class"):
        composed("train", "forecaster._target_=unlearn.nowhere.Nothing")
