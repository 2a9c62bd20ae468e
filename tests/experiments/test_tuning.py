"""The study of tunings in its tiny mode: what is run, kept, resumed, refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.groups import identity
from experiments.tuning import numbers
from experiments.tuning_jobs import cells_of_job, job_of, run_all
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import assert_self_contained, read_page
from tests.snapshots.take import smaller
from unlearn.errors import InputError
from unlearn.studies.tuning.options import TuningOptions

#: One linear deletion by two methods.
QUICK = ["forecaster=[linear]", "tuning.methods=[scale,quantile]"]


def tiny(*overrides: str) -> list[str]:
    return [*smaller("tuning"), *overrides]


def test_the_configured_study_is_the_librarys_default() -> None:
    job = composed("tuning")
    assert job.tuning == TuningOptions()
    assert list(job.forecaster) == ["linear", "cnn", "mixer"]
    assert job.data is None


def test_processes_and_where_parts_are_kept_change_no_result() -> None:
    assert identity(composed("tuning")) == identity(composed("tuning", "tuning.jobs=1", "store=elsewhere", "threads=2"))


def test_each_cell_has_the_data_and_the_grid_of_its_source() -> None:
    job = composed("tuning", "tuning.parts=[main]")
    found = {(own.data.name, own.data.year, own.grid.case) for own in (job_of(job, c) for c in cells_of_job(job))}
    assert found == {
        *(("gefcom2012", year, "ieee14") for year in (2004, 2005, 2006, 2007)),
        *(("bigdeal2022", year, "ieee9") for year in (2015, 2016, 2017)),
    }
    bounds = composed("tuning", "grid.bounds=shed_at_most_load")
    assert all(job_of(bounds, cell).grid.bounds == "shed_at_most_load" for cell in cells_of_job(bounds))


def test_configured_data_is_run_alone_on_the_configured_grid() -> None:
    job = composed("tuning", "data=gefcom2012", "data.year=2006", "grid=ieee30", "tuning.parts=[main]")
    own = [job_of(job, cell) for cell in cells_of_job(job)]
    assert {(one.data.name, one.data.year, one.grid.case) for one in own} == {("gefcom2012", 2006, "ieee30")}
    years = composed("tuning", "data=gefcom2012", "tuning.years=[2004,2007]")
    assert {job_of(years, cell).data.year for cell in cells_of_job(years)} == {2004, 2007}


def test_the_core_is_drawn_anew_for_each_seed_of_a_network() -> None:
    job = composed(
        "tuning", "tuning.years=[2007]", "tuning.seeds=[4,6]", "tuning.network_seeds=[5]", "tuning.parts=[main]"
    )
    drawn = {
        (own.forecaster.name, own.seed, own.split.random_state)
        for own in (job_of(job, cell) for cell in cells_of_job(job))
    }
    assert drawn == {("linear", 4, 0), ("linear", 6, 0), ("cnn", 5, 5), ("mixer", 5, 5)}


@pytest.mark.slow
def test_a_run_measures_every_part_and_goes_on_where_it_stopped(
    run: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ["main", "other", "prices", "front", "steps"]
    settings = [*QUICK, f"tuning.parts=[{','.join(parts)}]"]
    folder = run("tuning", *settings)
    said = capsys.readouterr().out
    assert "Cells, of 1, in which the chosen tuning costs less than TAMU: " in said
    assert "Cost of tuning by one factor, of complete unlearning's (median): " in said
    assert_self_contained(read_page(folder / "index.html"))
    records = records_of(folder)
    assert list(dict.fromkeys(records["part"])) == parts
    assert set(records["experiment"]) == {"tuning"}
    assert set(records[records["part"] == "other"]["selection"]) == {"helpful/mse", "harmful/mse", "month"}
    assert set(records[records["part"] == "prices"]["price_ratio"]) == {1.0, 5.0}
    assert set(records[records["part"] == "front"]["mse_weight"]) == {0.0, 1.0}
    steps = records[records["part"] == "steps"]
    assert set(steps["l1_budget"]) == {0.0, 0.1, 0.2}
    assert set(steps["split"]) == {"remaining"}
    assert set(steps["method"]) == {"weights", "single_step", "reweighted", "retrained"}

    found = numbers(records)
    costs = records[(records["part"] == "main") & (records["metric"] == "cost") & (records["split"] == "test")]
    level = costs[~costs["criterion"].isin(("mse", "mape"))].set_index("method")["value"]
    assert found[0].value == pytest.approx(level["scale"] / level["retrained"])
    assert found[1].value == pytest.approx(level["reweighted"] / level["retrained"])
    assert found[2].value == float(level["chosen"] < level["reweighted"])

    before = {file: file.stat().st_mtime_ns for file in Path("store").rglob("*.parquet")}
    lost = next(file for file in sorted(before) if file.parent.name.startswith("quantile"))
    lost.unlink()  # as if interrupted
    again, timed = records_of(run("tuning", *settings)), records["unit"] == "s"
    pd.testing.assert_frame_equal(again[~timed], records[~timed])
    after = {file: file.stat().st_mtime_ns for file in Path("store").rglob("*.parquet")}
    assert {file: time for file, time in before.items() if file != lost}.items() <= after.items()


def test_parts_restrict_what_is_run(tmp_path: Path) -> None:
    records = run_all(composed("tuning", *tiny(*QUICK, "tuning.parts=[main]", f"store={tmp_path}")))
    assert set(records["part"]) == {"main"}
    assert {"original", "retrained", "reweighted", "scale", "quantile", "chosen"} == set(records["method"])


@pytest.mark.slow
def test_several_processes_measure_what_one_does(tmp_path: Path) -> None:
    def found(jobs: int) -> pd.DataFrame:
        settings = tiny(*QUICK, "tuning.selections=[helpful,random]", "tuning.parts=[main]", f"tuning.jobs={jobs}")
        records = run_all(composed("tuning", *settings, f"store={tmp_path / str(jobs)}"))
        return records[records["metric"] != "seconds"].reset_index(drop=True)

    pd.testing.assert_frame_equal(found(1), found(2))


@pytest.mark.slow
def test_ones_own_tables_are_run_on_ones_own_grid(tmp_path: Path) -> None:
    hours = pd.date_range("2021-05-10", periods=1000, freq="h")
    random = np.random.default_rng(0)
    place = np.arange(len(hours)) / 24
    warm = 18 + 6 * np.sin(2 * np.pi * place) + 5 * np.sin(place) + random.normal(0, 2, len(hours))
    loads = {
        name: size * (1 + 0.02 * warm) * random.uniform(0.95, 1.05, len(hours))
        for name, size in zip("abc", (30, 50, 20), strict=True)
    }
    pd.DataFrame({"timestamp": hours, **loads}).to_csv(tmp_path / "load.csv", index=False)
    pd.DataFrame({"timestamp": hours, "temperature_c": warm}).to_csv(tmp_path / "t.csv", index=False)
    # Few hours of one summer: degrees of heating below 40 °F would be those of a single night.
    tables = [
        "data.temperature_features=false",
        f"data.load_csv={tmp_path / 'load.csv'}",
        f"+data.weather.temperature_c={tmp_path / 't.csv'}",
    ]
    settings = ["data=tables", *tables, "grid=ieee9", *QUICK, "tuning.folds=2", "evaluation.hours=24", "tuning.jobs=1"]
    parts = ["tuning.parts=[main,other]", "tuning.month=6", f"store={tmp_path / 'store'}"]
    records = run_all(composed("tuning", *settings, *parts))
    assert set(records["data"]) == {"load"}
    assert set(records["grid"]) == {"ieee9"}
    assert set(records["selection"]) == {"helpful/mse", "random", "harmful/mse", "month"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["protocol=published"], "expected protocol=fair, got published"),
        (["split.validation=0"], "expected validation rows in synthetic"),
        (["tuning.month=7"], r"tuning\.month: expected a month of some training rows of synthetic"),
        (["tuning.years=[2007]"], r"tuning\.years: expected data that has years \(.*gefcom2012.*\), got synthetic"),
        (["data=none", "grid=ieee30"], r"grid=ieee30: expected data for it, got none: .*ieee14 for gefcom2012"),
        (["data=none", "tuning.years=[1999]"], r"tuning\.years: expected years of tuning\.sources, 2004"),
        (["data=none", "tuning.sources=[{data: synthetic, grid: g, years: [1]}]"], r"tuning\.sources: expected data"),
        (["grid=ieee30", "data.n_loads=14"], "nominal load for each of the 14 loads"),
        (["forecaster=[cnn]", "tuning.parts=[prices]"], "nothing to measure in the parts prices"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_measured(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    small = [] if "data=none" in overrides else tiny()
    with pytest.raises(InputError, match=message):
        run_all(composed("tuning", *small, f"store={tmp_path}", *overrides))
    assert not list(tmp_path.iterdir())
