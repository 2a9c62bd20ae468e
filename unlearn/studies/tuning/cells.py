"""The cells of a run: one deletion each, of one forecaster on one year of data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from unlearn.errors import InputError
from unlearn.studies.tuning.options import SourceYears, TuningOptions

#: A year of the data, or None where it has none.
Year = int | None


@dataclass(frozen=True)
class Cell:
    """One deletion that is measured.

    Attributes:
        part: of the study.
        source: position of its data among the sources that are run.
        year: of its data; None leaves it as it is configured.
        forecaster: its name in the configuration.
        selection: "helpful", "harmful", "random" or "month".
        share: of the head's training rows; those of a month are as many as they are.
        seed: of random rows, of training and of the core.
        price_ratio: shedding over storing; None is the grid's own.
    """

    part: str
    source: int
    year: Year
    forecaster: str
    selection: str
    share: float
    seed: int
    price_ratio: float | None = None

    @property
    def model(self) -> tuple[int, Year, str, int]:
        """What its forecaster depends on; cells with the same share it."""
        return self.source, self.year, self.forecaster, self.seed


def years_of(sources: Sequence[SourceYears], years: Sequence[int] | None) -> list[tuple[int, Year]]:
    """Source (its position) and year of all data of a run, of the sources that options name.

    Raises:
        InputError: years that no source has.
    """
    known = {year for source in sources for year in source.years}
    if absent := sorted(set(years or ()) - known):
        raise InputError(
            f"tuning.years: expected years of tuning.sources, {', '.join(map(str, sorted(known)))}, got "
            f"{', '.join(map(str, absent))}. Name the data, such as data=tx123bt, or add a source."
        )
    return [(i, year) for i, source in enumerate(sources) for year in source.years if years is None or year in years]


def cells_of(options: TuningOptions, years: Sequence[tuple[int, Year]], exact: Mapping[str, bool]) -> list[Cell]:
    """All cells of a run, in the order of their records.

    Args:
        options: settings.
        years: source and year of all data, such as `years_of` gives.
        exact: of each forecaster, by its name, whether all of it is solved in closed form.

    Raises:
        InputError: nothing to measure, as for parts that need a forecaster that is solved exactly without one; more
            audits than their intervals allow for.
    """
    parts = {
        "main": _main, "whole_network": _whole_network, "other": _other, "prices": _prices, "front": _front,
        "steps": _steps, "audit": _audit,
    }  # fmt: skip
    found = [cell for part in options.parts for cell in parts[part](options, years, exact)]
    if not found:
        raise InputError(
            f"tuning: nothing to measure in the parts {', '.join(options.parts)}: other, prices and front are of "
            "forecasters that are solved exactly, such as linear, whole_network is of networks, such as cnn; got "
            f"{', '.join(exact)}."
        )
    audited = sum(cell.part == "audit" for cell in found)
    if audited > options.audit.cells:
        raise InputError(
            f"tuning.audit.cells: expected at least {audited}, as many as are audited, got {options.audit.cells}: "
            "intervals would not hold together. Raise it, or audit fewer years, forecasters or selections."
        )
    return found


_Years = Sequence[tuple[int, Year]]


def _main(options: TuningOptions, years: _Years, exact: Mapping[str, bool]) -> Iterator[Cell]:
    for source, year in years:
        for name in exact:
            for selection in options.selections:
                own = options.seeds if exact[name] else options.network_seeds
                for seed in own if selection == "random" or not exact[name] else own[:1]:
                    yield Cell("main", source, year, name, selection, options.share, seed)


def _whole_network(options: TuningOptions, years: _Years, exact: Mapping[str, bool]) -> Iterator[Cell]:
    for source, year in _some(years, options.whole_network_years):
        for name in exact:
            for selection in options.selections if not exact[name] else ():
                yield Cell("whole_network", source, year, name, selection, options.share, options.network_seeds[0])


def _other(options: TuningOptions, years: _Years, exact: Mapping[str, bool]) -> Iterator[Cell]:
    deletions = [("helpful", options.other_share), ("harmful", options.share), ("month", options.share)]
    for source, year in years:
        for name in _solved(exact):
            for selection, share in deletions:
                yield Cell("other", source, year, name, selection, share, options.seeds[0])


def _prices(options: TuningOptions, years: _Years, exact: Mapping[str, bool]) -> Iterator[Cell]:
    for source, year in _some(years, options.sweep_years):
        for name in _solved(exact):
            for selection in options.selections:
                for ratio in options.price_ratios:
                    own = options.share, options.seeds[0], float(ratio)
                    yield Cell("prices", source, year, name, selection, *own)


def _front(options: TuningOptions, years: _Years, exact: Mapping[str, bool]) -> Iterator[Cell]:
    for source, year in _some(years, options.sweep_years):
        for name in _solved(exact):
            yield Cell("front", source, year, name, "helpful", options.share, options.seeds[0])


def _steps(options: TuningOptions, years: _Years, exact: Mapping[str, bool]) -> Iterator[Cell]:
    for source, year in years:
        for name in exact:
            yield Cell("steps", source, year, name, "helpful", options.share, _first_seed(options, exact[name]))


def _audit(options: TuningOptions, years: _Years, exact: Mapping[str, bool]) -> Iterator[Cell]:
    for source, year in _some(years, options.audit_years):
        for name in exact:
            for selection in options.selections:
                yield Cell("audit", source, year, name, selection, options.share, _first_seed(options, exact[name]))


def _first_seed(options: TuningOptions, exact: bool) -> int:
    return options.seeds[0] if exact else options.network_seeds[0]


def _solved(exact: Mapping[str, bool]) -> list[str]:
    return [name for name in exact if exact[name]]


def _some(years: _Years, wanted: Sequence[int]) -> _Years:
    """Of the first source the wanted years, or its last one if none of them is run."""
    first = [own for own in years if own[0] == years[0][0]]
    return [own for own in first if own[1] in wanted] or first[-1:]
