"""Sections of a program: classes of options, and groups of which one of several classes is chosen by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import MISSING, DictConfig, OmegaConf

from experiments.settings import TARGET, build, build_target, plain, plain_defaults, schema
from unlearn.errors import InputError

CONF = str(Path(__file__).resolve().parents[1] / "conf")

#: The protocols, whose settings name a class (`_target_`), perhaps one's own, and where the library's are named.
PROTOCOLS = {
    "forecaster": "unlearn.forecasters.specs:FORECASTERS",
    "criterion": "unlearn.criteria:CRITERIA",
    "tuning": "unlearn.unlearning.tuning.methods:TUNINGS",
    "generator": "unlearn.generators.base:GENERATORS",
    "detector": "unlearn.detectors.base:DETECTORS",
    "attack": "unlearn.attacks.base:ATTACKS",
}

#: Other groups: where their classes of options are named.
SOURCES = {
    "data": "unlearn.data.sources:SOURCES",
    "grid": "unlearn.grid.options:GRIDS",
    "households": "unlearn.households.io.sources:HOUSEHOLD_SOURCES",
    "buildings": "unlearn.households.io.sources:BUILDING_SOURCES",
}

#: What every program has: threads of each process (as many cores a job on a cluster), and whether the run is too small
#: to be a result.
COMMON = {"threads": 1, "tiny": False}

#: Where fitted models, releases and parts of studies are kept and reused.
STORE = "results/store"

#: Settings that change no result.
_NEUTRAL = ("threads", "store", "records")

#: Launchers of Hydra's plugins that `conf/hydra/launcher` tunes under the plugin's own name, and the extra to install.
LAUNCHERS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}


@dataclass(frozen=True)
class Section:
    """A section of a class of options, some of whose fields are set in another way, such as by a group."""

    options: type
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """A section whose class is chosen by name, as in `generator=faraday`.

    Attributes:
        name: of the group.
        many: several are chosen, as in `detector=[level,gan]`; each has its settings under its name.
        optional: none may be chosen.
        later: the job has the settings, from which `build_target` makes the object when what it needs is there.
    """

    name: str
    many: bool = False
    optional: bool = False
    later: bool = False

    def choices(self) -> Mapping[str, Any]:
        """Classes of options by the names that choose them."""
        module, _, name = {**PROTOCOLS, **SOURCES}[self.name].partition(":")
        found = getattr(import_module(module), name)
        return {own: found[own] for own in found}

    def node(self, chosen: Any) -> Any:
        """The settings of a choice: a class of options, or options whose values are the defaults."""
        if not isinstance(chosen, type):
            return plain_defaults(chosen)
        return schema(chosen, f"{chosen.__module__}.{chosen.__qualname__}" if self.name in PROTOCOLS else None)

    def made(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Of the settings of several choices, those of what was chosen: a variant may hold settings of others, too.

        Raises:
            InputError: settings of nothing that there is.
        """
        for name, own in settings.items():
            if TARGET not in own and name not in self.choices():
                raise InputError(
                    f"{self.name}.{name}: expected one of {', '.join(self.choices())}, or {TARGET} with a class."
                )
        return {str(name): own for name, own in settings.items() if TARGET in own}


class _OwnFolder(SearchPathPlugin):
    """Lets a program's own groups, such as `variant`, be in `conf/NAME`, and a program of one's own see all others."""

    program: ClassVar[str] = ""
    conf: ClassVar[str] = CONF

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        folder = Path(self.conf, self.program)
        if folder.is_dir():
            search_path.prepend("own", f"file://{folder}")
        if self.conf != CONF:
            search_path.append("unlearn", f"file://{CONF}")


#: Programs of this process by their names.
_PROGRAMS: dict[str, Program] = {}


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        name: of its configuration, `NAME.yaml`.
        sections: of its settings: a class of options, a `Section`, a `Group`, or a default value each.
        conf: folder of its configuration.
    """

    name: str
    sections: Mapping[str, Any]
    conf: str = CONF

    def __post_init__(self) -> None:
        _PROGRAMS[self.name] = self

    def register(self) -> None:
        """Let Hydra know the schema of the settings and of every choice of the groups, and where the variants are."""
        Plugins.instance().register(_OwnFolder)
        _OwnFolder.program, _OwnFolder.conf = self.name, self.conf
        store = ConfigStore.instance()
        _rename_launchers(store)
        # Hydra copies its store for every group that it lists, which takes seconds of --help; nothing is put in there.
        ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
        fields = [(name, *_field(own)) for name, own in self.sections.items()]
        store.store(name=f"{self.name}_schema", node=dataclasses.make_dataclass(self.name, fields))
        for key, group in self._groups():
            for name, chosen in group.choices().items():
                package = f"{key}.{name}" if group.many else key
                # A file of that name says what is otherwise than in the class.
                own = f"{name}_schema" if Path(CONF, group.name, f"{name}.yaml").exists() else name
                store.store(name=own, group=group.name, node=group.node(chosen), package=package)
            if group.optional:
                store.store(name="none", group=group.name, node={key: None}, package="_global_")

    def job(self, raw: DictConfig) -> Any:
        """Settings as objects: an attribute for each section, and `settings` as they are.

        Raises:
            InputError: whatever the classes refuse.
        """
        values = {name: self._value(name, own, raw[name]) for name, own in self.sections.items()}
        whole = cast(dict[str, Any], OmegaConf.to_container(raw))
        for name, group in self._groups():
            if group.many:
                whole[name] = group.made(whole[name])
        settings = {name: plain(whole[name]) for name in self.sections}
        for name, group in self._groups():
            if group.name in SOURCES and hasattr(values[name], "name"):
                settings[name] = {"source": values[name].name, **settings[name]}
        made = dataclasses.make_dataclass("Job", [*values, "settings"], frozen=True)
        return made(**values, settings=settings)

    def _value(self, name: str, own: Any, node: Any) -> Any:
        if isinstance(own, Group):
            return self._chosen(own, node)
        value = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
        if isinstance(own, type | Section):
            return build(own if isinstance(own, type) else own.options, value, name)
        return tuple(value) if isinstance(value, list) else value

    def _chosen(self, group: Group, node: Any) -> Any:
        if node is None:
            if group.optional:
                return None
            raise InputError(f"{group.name}: expected one of {', '.join(sorted(group.choices()))}; got 'none'.")
        if group.later:
            return OmegaConf.to_container(node)
        if group.name not in PROTOCOLS:
            return build(OmegaConf.get_type(node).options, OmegaConf.to_container(node), group.name)
        if group.many:
            settings = group.made(cast(dict[str, Any], OmegaConf.to_container(node)))
            return {name: build_target(own, f"{group.name}.{name}") for name, own in settings.items()}
        return build_target(OmegaConf.to_container(node), group.name)

    def _groups(self) -> Iterator[tuple[str, Group]]:
        return ((name, own) for name, own in self.sections.items() if isinstance(own, Group))


def _field(own: Any) -> tuple[Any, Any]:
    """Type and default of a section."""
    if isinstance(own, Group):
        default = dataclasses.field(default_factory=dict) if own.many else None if own.optional else MISSING
        return Any, default
    if isinstance(own, type | Section):
        made = schema(own) if isinstance(own, type) else schema(own.options, without=own.without)
        return made, dataclasses.field(default_factory=made)
    if isinstance(own, tuple):
        return list[type(own[0])], dataclasses.field(default_factory=lambda: list(own))
    return type(own), own


def identity(job: Any) -> dict[str, Any]:
    """What a job's results depend on of its settings: all but threads, processes and folders."""
    return {name: _identified(getattr(job, name), own) for name, own in job.settings.items() if name not in _NEUTRAL}


def _identified(value: Any, settings: Any) -> Any:
    # Of a protocol all counts, also the name by which records call it.
    if not dataclasses.is_dataclass(value) or TARGET in settings:
        return settings
    kind = type(value)
    return {"class": f"{kind.__module__}.{kind.__qualname__}", **plain(value, neutral=False)}


def program_named(name: str) -> Program:
    """A program by its name; in a process that a launcher has started, its module may have to be imported first."""
    if name not in _PROGRAMS:
        import_module(f"experiments.{name}")
    return _PROGRAMS[name]


def _rename_launchers(store: ConfigStore) -> None:
    """Make the plugins' configurations schemas of our files: of two with one name, Hydra would take ours and warn."""
    Plugins.instance()  # finds the plugins that are installed, which register themselves
    launchers = store.repo["hydra"]["launcher"]
    for name, extra in LAUNCHERS.items():
        found = launchers.pop(f"{name}.yaml", None)
        if found is None and f"{name}_schema.yaml" in launchers:
            continue
        # Without its plugin a choice still composes; this is what Hydra then says that it cannot load.
        absent = {TARGET: f"hydra_plugins.{name} (absent: pip install 'unlearn[{extra}]')"}
        # Plain values: in the processes that a launcher starts, its module is loaded twice, and so are its classes.
        node = OmegaConf.to_container(found.node, resolve=False) if found else absent
        store.store(group="hydra/launcher", name=f"{name}_schema", node=node)
