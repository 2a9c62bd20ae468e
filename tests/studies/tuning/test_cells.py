"""Which deletions a run measures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError
from unlearn.studies.tuning.cells import Cell, cells_of, years_of
from unlearn.studies.tuning.options import PARTS, SourceYears, TuningOptions

BOTH = {"linear": True, "cnn": False}
GRIDS = ((0, 2006), (0, 2007), (1, 2015))


def main(**options: object) -> list[Cell]:
    return cells_of(TuningOptions(parts=["main"], **options), GRIDS, BOTH)  # type: ignore[arg-type]


def test_only_what_draws_something_is_measured_for_several_seeds() -> None:
    cells = main(seeds=[3, 1, 0], network_seeds=[7, 2])
    seeds = {(c.source, c.year, c.forecaster, c.selection): [] for c in cells}  # type: ignore[var-annotated]
    for cell in cells:
        seeds[cell.source, cell.year, cell.forecaster, cell.selection].append(cell.seed)
    assert len(seeds) == len(GRIDS) * 4
    for (_, _, name, selection), own in seeds.items():
        drawn = [3, 1, 0] if name == "linear" else [7, 2]
        assert own == (drawn[:1] if (name, selection) == ("linear", "helpful") else drawn)


def test_every_part_of_the_default_run_has_its_cells() -> None:
    options = TuningOptions()
    years = years_of(options.sources, options.years)
    exact = {"linear": True, "cnn": False, "mixer": False}
    counted = dict.fromkeys(PARTS, 0)
    for cell in cells_of(options, years, exact):
        counted[cell.part] += 1
    # Seven years; linear: helpful rows once, random ones thrice; networks twice. Linear alone in other, prices, front.
    assert counted == {
        "main": 7 * (1 + 3 + 2 * 2 * 2), "whole_network": 2 * 2 * 2, "other": 7 * 3, "prices": 2 * 2 * 6, "front": 2,
        "steps": 7 * 3, "audit": 6,
    }  # fmt: skip


def test_the_audit_is_of_three_forecasters_and_two_selections_of_one_year() -> None:
    options = TuningOptions(parts=["audit"])
    cells = cells_of(options, years_of(options.sources, None), {"linear": True, "cnn": False, "mixer": False})
    assert {(c.source, c.year, c.seed) for c in cells} == {(0, 2007, 0)}
    assert [(c.forecaster, c.selection) for c in cells] == [
        (name, selection) for name in ("linear", "cnn", "mixer") for selection in ("helpful", "random")
    ]


def test_more_audits_than_their_intervals_allow_for_are_refused() -> None:
    options = TuningOptions(parts=["audit"], audit_years=[2006, 2007])
    assert len(cells_of(options, GRIDS, {"linear": True})) == 4
    with pytest.raises(InputError, match=r"tuning\.audit\.cells: expected at least 8.*got 6"):
        cells_of(options, GRIDS, BOTH)


def test_the_last_year_is_swept_where_none_of_those_named_is_run() -> None:
    options = TuningOptions(parts=["prices"], price_ratios=[1])
    swept = {years: {c.year for c in cells_of(options, years, BOTH)} for years in (GRIDS, ((0, 2004), (0, 2006)))}
    assert list(swept.values()) == [{2007}, {2006}]
    assert {c.year for c in cells_of(options, [(0, None)], BOTH)} == {None}


def test_cells_with_the_same_model_are_those_of_one_year_forecaster_and_seed() -> None:
    cells = cells_of(TuningOptions(network_seeds=[0, 1]), GRIDS, BOTH)
    shared = [c for c in cells if c.model == (0, 2007, "cnn", 0)]
    assert {(c.part, c.selection) for c in shared} == {
        ("main", "helpful"), ("main", "random"), ("whole_network", "helpful"), ("whole_network", "random"),
        ("steps", "helpful"), ("audit", "helpful"), ("audit", "random"),
    }  # fmt: skip


def test_years_restrict_the_sources() -> None:
    sources = (SourceYears("a", "g", [2004, 2005]), SourceYears("b", "h", [2005, 2006]))
    assert years_of(sources, None) == [(0, 2004), (0, 2005), (1, 2005), (1, 2006)]
    assert years_of(sources, [2006, 2005]) == [(0, 2005), (1, 2005), (1, 2006)]
    with pytest.raises(InputError, match=r"expected years of tuning\.sources, 2004, 2005, 2006, got 1999, 2007"):
        years_of(sources, [2005, 2007, 1999])


def test_a_run_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"nothing to measure in the parts prices, front.*got cnn"):
        cells_of(TuningOptions(parts=["prices", "front"]), GRIDS, {"cnn": False})
    with pytest.raises(InputError, match=r"nothing to measure in the parts whole_network.*got linear"):
        cells_of(TuningOptions(parts=["whole_network"]), GRIDS, {"linear": True})


@given(st.lists(st.sampled_from(PARTS), min_size=1, unique=True), st.lists(st.integers(0, 9), min_size=1, unique=True))
def test_no_cell_is_measured_twice(parts: list[str], seeds: list[int]) -> None:
    cells = cells_of(TuningOptions(parts=parts, seeds=seeds, network_seeds=seeds), GRIDS, BOTH)
    assert len(set(cells)) == len(cells)
    assert list(dict.fromkeys(c.part for c in cells)) == parts


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"parts": ["all"]}, "tuning.parts: expected one of audit, front"),
        ({"parts": []}, "tuning.parts: expected at least one, each once"),
        ({"methods": ["guess"]}, "tuning.methods: expected one of affine"),
        ({"selections": ["mask"]}, "tuning.selections: expected one of harmful"),
        ({"seeds": [1, 1]}, "tuning.seeds: expected at least one, each once"),
        ({"years": [2007, 2007]}, "tuning.years: expected each once"),
        ({"share": 1.0}, "tuning.share: expected a share between 0 and 1"),
        ({"price_ratios": [0]}, "tuning.price_ratios: expected a number above 0"),
        ({"mse_weights": [-1]}, "tuning.mse_weights: expected a number of at least 0"),
        ({"l1_budgets": [-0.1]}, "tuning.l1_budgets: expected a number of at least 0"),
        ({"folds": 1}, "tuning.folds: expected at least 2"),
        ({"month": 13}, "tuning.month: expected 1 to 12, got 13"),
        ({"jobs": 0}, "tuning.jobs: expected a whole number of at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        TuningOptions(**setting)


def test_a_source_without_years_is_refused() -> None:
    with pytest.raises(InputError, match="years of x: expected at least one"):
        SourceYears("x", "ieee14", [])
