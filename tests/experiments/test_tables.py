"""One's own tables in experiments: their number of loads, and loads of 0."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.experiments.conftest import Runner


def tables(folder: Path, zeros: list[tuple[int, int]], n_loads: int = 3) -> list[str]:
    """Overrides for tables of 400 hours, some loads of which are 0."""
    hours = pd.date_range("2024-01-01", periods=400, freq="h", name="timestamp")
    random = np.random.default_rng(0)
    day = 2 + np.sin(2 * np.pi * hours.hour.to_numpy() / 24)[:, None]
    load = pd.DataFrame(10 * day + random.random((400, n_loads)), hours, [f"b{i}" for i in range(n_loads)])
    for hour, column in zeros:
        load.iloc[hour, column] = 0.0
    load.to_csv(folder / "load.csv")
    pd.DataFrame({"t": random.random(400)}, hours).to_csv(folder / "t.csv")
    return ["data=tables", "data.load_csv=load.csv", "+data.weather.t=t.csv", "evaluation.hours=20", "grid=ieee9"]


def said(run: Runner, capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    with pytest.raises(SystemExit) as end:
        run("train", *overrides)
    assert end.value.code == 1
    return capsys.readouterr().out


def test_a_load_of_0_is_named_with_the_switch_that_leaves_it_out(
    run: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    run.small = ["tiny=true"]
    overrides = tables(run.folder, [(30, 1), (350, 2), (351, 2)])
    refused = said(run, capsys, *overrides)
    assert "b1 is 0 at 2024-01-02 06:00:00 (3 such loads)" in refused
    assert "evaluation.leave_out_zero_loads=true" in refused
    assert not (run.folder / "store").exists()
    records = pd.read_parquet(run("train", *overrides, "evaluation.leave_out_zero_loads=true") / "records.parquet")
    assert set(records["zero_loads_left_out"]) == {3}
    assert 0 < records.set_index("metric")["value"]["mape"] < 100


def test_an_hour_without_any_load_has_no_mape_at_all(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    run.small = ["tiny=true"]
    overrides = tables(run.folder, [(30, 0), (30, 1), (30, 2)])
    refused = said(run, capsys, *overrides, "evaluation.leave_out_zero_loads=true")
    assert "every load is 0 at 2024-01-02 06:00:00" in refused


@pytest.mark.parametrize(("n_loads", "remedy"), [(3, "take grid=ieee9, which has 3"), (4, "take a grid of your own")])
def test_another_number_of_loads_than_buses_is_said_of_loads_and_buses(
    run: Runner, capsys: pytest.CaptureFixture[str], n_loads: int, remedy: str
) -> None:
    run.small = ["tiny=true"]
    refused = said(run, capsys, *tables(run.folder, [], n_loads), "grid=ieee14")
    assert f"expected as many loads as ieee14 has load buses, 14, got {n_loads} (b0, b1, b2" in refused
    assert remedy in refused
    assert "zone" not in refused


def test_dates_in_a_form_of_ones_own_are_read_by_the_format_given(
    run: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    run.small = ["tiny=true"]
    overrides = tables(run.folder, [])
    for name in ("load.csv", "t.csv"):
        table = pd.read_csv(run.folder / name, parse_dates=["timestamp"])
        table["timestamp"] = table["timestamp"].dt.strftime("%d/%m/%Y %H:%M")
        table.to_csv(run.folder / name, index=False)
    assert "date_format" in said(run, capsys, *overrides)
    assert (run("train", *overrides, "data.date_format='%d/%m/%Y %H:%M'") / "records.parquet").is_file()
