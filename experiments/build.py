"""From a typed configuration to the library's objects."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import unlearn
from experiments.refusals import CONF
from experiments.rows import check, given_rows
from experiments.schema import Config
from unlearn.data import FAIR, PUBLISHED, LoadDataset, SplitSpec
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.generators.base import GENERATORS, Generator
from unlearn.grid import CostOptions, OperatingCost
from unlearn.households import HouseholdProfiles
from unlearn.store import Artefact, Store
from unlearn.studies._shared.releases import Releases
from unlearn.studies._shared.study import Study
from unlearn.studies._shared.synthesis import SynthesisOptions

#: Kind of kept forecasters, and where each lies in its folder, which others look into that want nothing else there.
KIND, MODEL = "forecaster", "model"

T = TypeVar("T")


def build_cost(config: Config) -> OperatingCost:
    """The grid's programs and what prices them."""
    return CostOptions(**asdict(config.grid)).build()


def build_households(config: Config) -> HouseholdProfiles:
    """The configured households."""
    # Options that are null are left to the reader.
    options = {name: value for name, value in asdict(config.households).items() if value is not None}
    return unlearn.load_households(options.pop("source"), **options)


def options_of(kind: type[T], /, *configured: Any, **more: Any) -> T:
    """An option class of the library, filled with what it knows of configured settings."""
    hints, given = get_type_hints(kind), {}
    for name, value in {**{n: v for own in configured for n, v in vars(own).items()}, **more}.items():
        if name in hints:
            nested = options_of(hints[name], value) if is_dataclass(value) else value
            given[name] = tuple(nested) if isinstance(nested, list) else nested
    return kind(**given)


def build_releases(config: Config) -> Releases:
    """Households, and where releases of generators that learn from them are kept."""
    options = options_of(SynthesisOptions, config.synthesis)
    return Releases(build_households(config), options)


def build_generator(config: Config) -> Generator:
    """The configured generator."""
    own = {name: value for name, value in vars(config.generator).items() if (name, value) != ("name", None)}
    return options_of(GENERATORS[config.generator.kind], **own)


def build_split(config: Config) -> SplitSpec:
    """The split of the protocol, with whatever the configuration changes in it."""
    split = config.split
    base = PUBLISHED if config.protocol == "published" else FAIR
    return SplitSpec(
        train=base.train if split.train is None else split.train,
        validation=base.validation if split.validation is None else split.validation,
        core=split.core,
        core_choice=split.core_choice,
        seed=split.seed,
    )


def build_dataset(config: Config, cost: OperatingCost) -> LoadDataset:
    """Load the data and scale it to the grid: over the whole year as published, or over training rows."""
    # An option that is null is left to the reader: as many loads as the grid has, the cached file.
    options = {name: value for name, value in asdict(config.data).items() if value is not None}
    over = "all" if config.protocol == "published" else "train"
    source, nominal, base = options.pop("source"), cost.case.nominal_load_mw, cost.case.base_mva
    options["split"] = build_split(config)
    if hasattr(config.data, "n_loads"):
        return unlearn.load_dataset(source, nominal_mw=nominal, scale_over=over, base_mva=base, **options)
    dataset = unlearn.load_dataset(source, **options)
    if dataset.n_loads != len(nominal):
        raise InputError(_other_grid(config, dataset, len(nominal)))
    return dataset.scaled_to(nominal, over, base)


def _other_grid(config: Config, dataset: LoadDataset, n_buses: int) -> str:
    """What to do where the data has another number of loads than the grid has load buses."""
    names = ", ".join(dataset.load_names[:3]) + (", ..." if dataset.n_loads > 3 else "")
    grids = sorted(path.stem for path in Path(CONF, "grid").glob("*.yaml"))
    fitting = [f"grid={name}" for name in grids if len(unlearn.load_case(name).nominal_load_mw) == dataset.n_loads]
    other = f"take {' or '.join(fitting)}, which has {dataset.n_loads}" if fitting else "take a grid of your own"
    return (
        f"data={config.data.source}: expected as many loads as {config.grid.case} has load buses, {n_buses}, got "
        f"{dataset.n_loads} ({names}). Either {other}, or change the number of loads."
    )


def build_model(config: Config, dataset: LoadDataset) -> Forecaster:
    """Fit the forecaster, or take the same one from the folder of models.

    Jobs that run at the same time may fit the same model; all go on with the one that was saved first.
    """
    kind, l2 = config.forecaster.kind, config.forecaster.l2

    def make(folder: Path) -> None:
        model: Forecaster
        if kind == "linear":
            model = unlearn.fit_linear(dataset, l2)
        else:
            training = unlearn.TrainingOptions(**asdict(config.training))
            model = unlearn.fit_network(dataset, kind, training, config.seed, l2)
        unlearn.save_forecaster(model, folder / MODEL)

    store = Store(config.models, confidential=True)
    return store.get(
        KIND,
        kind,
        make=make,
        read=lambda folder: unlearn.load_forecaster(folder / MODEL),
        **_dependencies(config, dataset),
    )


def kept_model(config: Config, dataset: LoadDataset) -> Artefact:
    """What `build_model` keeps, whether it is there or not; the model lies in its folder `MODEL`."""
    return Store(config.models).artefact(KIND, config.forecaster.kind, **_dependencies(config, dataset))


def _dependencies(config: Config, dataset: LoadDataset) -> dict[str, Any]:
    """What a fitted forecaster depends on."""
    linear = config.forecaster.kind == "linear"
    trained = {} if linear else {"training": config.training, "seed": config.seed}
    return {
        "options": {"l2": config.forecaster.l2, **trained},
        "data": {"train": dataset},
        "code": (unlearn.fit_linear if linear else unlearn.fit_network, unlearn.save_forecaster),
        "packages": ("numpy", "scipy", "torch"),
    }


def build_study(config: Config, cost: OperatingCost | None = None, dataset: LoadDataset | None = None) -> Study:
    """Grid, data and model together, under the configuration's protocol."""
    check(config)
    cost = cost or build_cost(config)
    dataset = dataset or build_dataset(config, cost)
    labels = _zero_loads(config, dataset)
    model = build_model(config, dataset)
    rows, label = given_rows(config, dataset)
    unlearning = config.unlearning
    return Study(
        model=model,
        dataset=dataset,
        cost=cost,
        protocol=config.protocol,
        select_by=unlearning.select_by,
        selection=unlearning.selection if rows is None else "given",
        given_rows=rows,
        given_label=label,
        hours=config.evaluation.hours,
        ihvp=unlearn.IhvpOptions(**asdict(config.ihvp)),
        linf_budget=unlearning.linf_budget,
        seed=config.seed,
        labels=labels,
        mape=unlearn.MAPE(config.evaluation.leave_out_zero_loads),
    )


def _zero_loads(config: Config, dataset: LoadDataset) -> dict[str, object]:
    """Columns of the records that count the loads of 0 that MAPE leaves out.

    Raises:
        InputError: loads of 0 where they are not to be left out, or hours in which every load is 0.
    """
    zero = dataset.load_pu == 0
    if not zero.any():
        return {}
    allowed = config.evaluation.leave_out_zero_loads
    if allowed and not zero.all(axis=1).any():
        return {"zero_loads_left_out": int(zero.sum())}
    hour = int((zero.all(axis=1) if allowed else zero.any(axis=1)).argmax())
    when = dataset.timestamps[hour]
    if allowed:
        raise InputError(
            f"data: every load is 0 at {when}, so that hour has no MAPE. Take such hours out of the table."
        )
    raise InputError(
        f"data: {dataset.load_names[int(zero[hour].argmax())]} is 0 at {when} ({int(zero.sum())} such loads), and "
        "MAPE divides by the load. With evaluation.leave_out_zero_loads=true an hour's MAPE is over its other loads; "
        "or take such hours out of the table."
    )
