"""Sources of hourly loads: a class of options each, by name. What reads the files is imported when it reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from unlearn.errors import InputError
from unlearn.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from unlearn.data.dataset import LoadDataset
    from unlearn.data.lags import Lags
    from unlearn.data.splits import SplitSpec

Source = TypeVar("Source")


def read_with(reader: str, options: object, leave_out: Collection[str] = (), **more: Any) -> Any:
    """Call the function `module:name` with the fields of a dataclass of options as keywords.

    It is imported when it is to read: modules of readers take their defaults from the options.
    """
    module, _, function = reader.partition(":")
    given = {own.name: getattr(options, own.name) for own in fields(options) if own.name not in leave_out}  # type: ignore[arg-type]
    return getattr(import_module(module), function)(**given, **more)


@runtime_checkable
class DataSource(Protocol):
    """Where hourly loads come from: a dataclass of options that reads them."""

    name: ClassVar[str]

    def read(self, split: SplitSpec, n_loads: int | None = None) -> LoadDataset:
        """Read the loads.

        Args:
            split: how to divide the hours.
            n_loads: as many as a grid has, for sources that choose how many they have; None where no grid is given.
        """
        ...


@dataclass(frozen=True)
class Gefcom2012:
    """Hourly load of 14 clean US zones and temperatures, 2004 to 2008; downloaded once. See `read_gefcom2012`."""

    name: ClassVar[str] = "gefcom2012"

    path: str | None = None
    year: int = 2007
    zones: tuple[int, ...] = (1, 2, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)

    def read(self, split: SplitSpec, n_loads: int | None = None) -> LoadDataset:
        return read_with("unlearn.data.gefcom2012:read_gefcom2012", self, split=split)


@dataclass(frozen=True)
class Bigdeal2022:
    """Hourly load of 3 US utilities and temperatures, 2015 to 2017; downloaded once. See `read_bigdeal2022`."""

    name: ClassVar[str] = "bigdeal2022"

    path: str | None = None
    year: int = 2017

    def read(self, split: SplitSpec, n_loads: int | None = None) -> LoadDataset:
        return read_with("unlearn.data.bigdeal2022:read_bigdeal2022", self, split=split)


@dataclass(frozen=True)
class Tx123bt:
    """The paper's data: a Texas synthetic system, load and climate (544 MB, downloaded once). See `read_tx123bt`."""

    name: ClassVar[str] = "tx123bt"

    path: str | None = None
    year: int = 2019
    n_loads: int | None = None
    buses: tuple[int, ...] | None = None

    def read(self, split: SplitSpec, n_loads: int | None = None) -> LoadDataset:
        wanted = self.n_loads if self.n_loads is not None or self.buses is not None else n_loads
        count = {} if wanted is None else {"n_loads": wanted}
        return read_with("unlearn.data.tx123bt:read_tx123bt", self, ("n_loads",), split=split, **count)


@dataclass(frozen=True)
class Synthetic:
    """Climate-dependent loads made on the spot; no network needed. See `make_synthetic`."""

    name: ClassVar[str] = "synthetic"

    n_loads: int | None = None
    n_hours: int = 8760
    random_state: int = 0
    start: str = "2019-01-01"

    def read(self, split: SplitSpec, n_loads: int | None = None) -> LoadDataset:
        wanted = self.n_loads if self.n_loads is not None else n_loads
        count = {} if wanted is None else {"n_loads": wanted}
        return read_with("unlearn.data.synthetic:make_synthetic", self, ("n_loads",), split=split, **count)


@dataclass(frozen=True)
class Tables:
    """One's own tables: a load table in MW, and a table per weather variable. See `read_tables`."""

    name: ClassVar[str] = "tables"

    load_csv: str = field(metadata={"expected": "a table of loads in MW, such as load.csv"})
    weather: Mapping[str, str] = field(
        metadata={"expected": "a table of each variable, such as {temperature_c: t.csv}"}
    )
    timestamp: str = "timestamp"
    date_format: str | None = None
    temperature_features: bool = True

    def read(self, split: SplitSpec, n_loads: int | None = None) -> LoadDataset:
        return read_with("unlearn.data.tables:read_tables", self, split=split)


SOURCES: Registry[type[DataSource]] = Registry(
    "source", {own.name: own for own in (Bigdeal2022, Gefcom2012, Synthetic, Tables, Tx123bt)}
)


def chosen(source: str | Source, sources: Registry[type[Source]], options: Mapping[str, Any]) -> Source:
    """A source by its name and options, or an object as it is.

    Raises:
        InputError: an unknown name or option, a missing option, or options beside an object.
    """
    if not isinstance(source, str):
        if options:
            raise InputError(f"source: expected no options beside {source!r}, got {', '.join(sorted(options))}.")
        return source
    kind = sources[source]
    known = {own.name: own for own in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(options) - set(known)):
        raise InputError(f"{source}: expected options among {', '.join(sorted(known))}; got {', '.join(unknown)}.")
    needed = [name for name, own in known.items() if own.default is own.default_factory is MISSING]
    if absent := [name for name in needed if name not in options]:
        raise InputError(f"{source}: expected the options {', '.join(absent)}, got none. Pass them by name.")
    return kind(**options)


def load_dataset(
    source: str | DataSource,
    *,
    nominal_mw: ArrayLike | None = None,
    scale_over: str = "train",
    base_mva: float | None = None,
    split: SplitSpec | None = None,
    lags: Lags | Sequence[int] | None = None,
    **options: Any,
) -> LoadDataset:
    """Load a data set by the name of its source, and scale it to a grid where one is given.

    Args:
        source: a name of `SOURCES`, or an object such as `Gefcom2012(year=2006)`.
        nominal_mw: nominal load of each bus with load, shape (B,). Sources that choose how many
            loads they have then provide B of them.
        scale_over: rows that each load's maximum is taken over: "train", or "all" as published.
        base_mva: power base of the grid; None keeps 100 MVA.
        split: how to divide the hours; None is `FAIR`.
        lags: loads of earlier hours that are to be features, such as `[24, 168]`; see `LoadDataset.with_lags`.
        **options: fields of the named source, such as `year`.

    Raises:
        InputError: an unknown source or option, a missing option, lags below the horizon, or nominal loads that do not
            fit the data set.
        DataError: whatever the reader refuses.
    """
    found = chosen(source, SOURCES, options)
    import numpy as np

    from unlearn.data.splits import FAIR

    n_loads = None if nominal_mw is None else int(np.size(nominal_mw))
    dataset = found.read(split or FAIR, n_loads)
    if lags is not None:
        dataset = dataset.with_lags(lags)
    return dataset if nominal_mw is None else dataset.scaled_to(nominal_mw, scale_over, base_mva)
