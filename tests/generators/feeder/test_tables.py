"""The files: documented contents, the same bytes however they are made, nothing half-written, bounded memory.

Transformers stand on buses: each bus has some, neighbours stay together, loads are right and can be learnt.
"""

import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unlearn
from tests.generators.feeder.builders import digests, small
from unlearn.errors import DataError, InputError, MismatchError
from unlearn.generators.feeder import (
    GeneratorConfig,
    GeoJSONGenerator,
    MeterGenerator,
    SyntheticDataPipeline,
    TransformerGenerator,
    bus_loads,
    hourly_frames,
    transformer_buses,
)
from unlearn.generators.feeder import tables as tables_module
from unlearn.generators.feeder.meters import BLOCK
from unlearn.generators.feeder.tables import CsvTable
from unlearn.grid import GridCase

FILES = [
    "anomaly_labels.csv", "generation_report.txt", "meter_consumption.csv", "transformers.csv", "transformers.geojson",
]  # fmt: skip


def saved(folder: Path, **changes: Any) -> tuple[dict[str, Any], Path]:
    pipeline = SyntheticDataPipeline(small(output_dir=folder, **changes))
    outputs = pipeline.generate_all()
    return outputs, pipeline.save_outputs(outputs)


def test_the_documented_files_hold_the_outputs(tmp_path: Path) -> None:
    outputs, folder = saved(tmp_path / "out")
    assert folder == tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for key, name in (
        ("transformers_df", "transformers.csv"),
        ("meters_df", "meter_consumption.csv"),
        ("anomaly_labels_df", "anomaly_labels.csv"),
    ):
        pd.testing.assert_frame_equal(pd.read_csv(folder / name), outputs[key])
    assert json.loads((folder / "transformers.geojson").read_text()) == outputs["geojson"]
    assert (folder / "generation_report.txt").read_text() == outputs["report"]
    first = (folder / "transformers.csv").read_text().splitlines()[1]
    assert first.startswith("TX_0001,FD_01,")
    assert first.endswith(".0") or first.endswith(".5")
    assert "generated_data" not in outputs["report"]


def test_geojson_is_as_rfc_7946_wants_it(tmp_path: Path) -> None:
    _, folder = saved(tmp_path / "out")
    raw = (folder / "transformers.geojson").read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf")
    collection = json.loads(raw, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert collection["type"] == "FeatureCollection"
    assert set(collection) == {"type", "features"}  # no "crs": WGS 84 always
    for feature in collection["features"]:
        assert set(feature) == {"type", "geometry", "properties"}
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Point"
        lon, lat = feature["geometry"]["coordinates"]
        assert 120.9 <= lon <= 121.2
        assert 14.4 <= lat <= 14.7
        names = ["transformer_id", "feeder_id", "barangay", "capacity_kVA", "num_meters", "meter_ids"]
        assert list(feature["properties"]) == names
        assert feature["properties"]["num_meters"] == len(feature["properties"]["meter_ids"])
    ids = [name for feature in collection["features"] for name in feature["properties"]["meter_ids"]]
    assert ids == [f"MTR_{n:06d}" for n in range(1, 1501)]


def test_the_same_bytes_at_once_or_in_chunks_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "_ROWS", 700)  # so that parquet files have several row groups
    settings = {"num_meters": 5000, "parquet": True, "grid": "ieee14"}
    _, folder = saved(tmp_path / "at_once", **settings)
    expected = digests(folder)
    assert set(expected) > {*FILES, "bus_loads.parquet", "transformer_buses.csv", "meter_consumption.parquet"}
    for chunk in (1, BLOCK, 2500, 3 * BLOCK, 10**6):
        pipeline = SyntheticDataPipeline(small(output_dir=tmp_path / "chunks", **settings), chunk)
        assert digests(pipeline.run()) == expected


def test_reruns_replace_an_earlier_run_with_the_same_bytes(tmp_path: Path) -> None:
    _, folder = saved(tmp_path / "out")
    first = digests(folder)
    _, folder = saved(tmp_path / "out", random_seed=1)
    assert digests(folder)["meter_consumption.csv"] != first["meter_consumption.csv"]
    _, folder = saved(tmp_path / "out")
    assert digests(folder) == first
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    saved(tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 5


@pytest.mark.parametrize("names", [["thesis.txt"], ["meter_consumption.csv"], ["generation_report.txt"]])
def test_a_folder_with_other_data_is_refused_before_any_work(
    tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with our names that no run of ours wrote are other data, too."""
    out = tmp_path / "out"
    out.mkdir()
    for name in names:
        (out / name).write_text("mine")
    pipeline = SyntheticDataPipeline(small(output_dir=out))
    monkeypatch.setattr(pipeline.meters, "block", lambda index: pytest.fail("work had begun"))
    with pytest.raises(InputError, match=f"holds other data \\({names[0]}\\)"):
        pipeline.run()
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(names, "mine")


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="expected a folder, got a file"):
        SyntheticDataPipeline(small(output_dir=tmp_path / "out")).run()


def test_a_failure_leaves_nothing_and_an_earlier_run_as_it_was(tmp_path: Path) -> None:
    _, folder = saved(tmp_path / "out")
    before = digests(folder)
    for target in ("out", "new"):
        pipeline = SyntheticDataPipeline(small(output_dir=tmp_path / target), BLOCK)
        made = pipeline.meters.block

        def breaks(index: int, made: Any = made) -> Any:
            if index == 1:
                raise OSError("disk full")
            return made(index)

        pipeline.meters.block = breaks  # type: ignore[method-assign]
        with pytest.raises(OSError, match="disk full"):
            pipeline.run()
    assert digests(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_run_comes_back_if_the_last_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = saved(tmp_path / "out")
    before = digests(folder)
    rename = Path.rename

    def breaks(path: Path, target: Path) -> Path:
        if Path(target) == folder and path.name != folder.name:
            raise OSError("connection to the disk lost")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", breaks)
    with pytest.raises(OSError, match="disk lost"):
        saved(tmp_path / "out", random_seed=1)
    assert digests(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_outputs_that_break_a_rule_are_not_written(tmp_path: Path) -> None:
    pipeline = SyntheticDataPipeline(small(output_dir=tmp_path / "out"))
    outputs = pipeline.generate_all()
    with pytest.raises(DataError, match="record counts"):
        pipeline.save_outputs({**outputs, "meters_df": outputs["meters_df"].head(1000)})
    fewer = {**outputs["geojson"], "features": outputs["geojson"]["features"][1:]}
    with pytest.raises(DataError, match="geojson: expected 30 features that hold 1500 meters, got 29"):
        pipeline.save_outputs({**outputs, "geojson": fewer})
    with pytest.raises(InputError, match="missing geojson"):
        pipeline.save_outputs({key: value for key, value in outputs.items() if key != "geojson"})
    named = outputs["transformers_df"].assign(barangay="Here, there")
    with pytest.raises(DataError, match="without commas"):
        pipeline.save_outputs({**outputs, "transformers_df": named})
    assert not list(tmp_path.iterdir())


def test_geojson_of_a_meter_without_transformer_is_refused() -> None:
    outputs = SyntheticDataPipeline(small()).generate_all()
    with pytest.raises(MismatchError, match="'TX_0030' at meter"):
        GeoJSONGenerator().generate(outputs["transformers_df"].head(29), outputs["meters_df"])
    shuffled = outputs["meters_df"].sample(frac=1, random_state=0).sort_index()
    assert GeoJSONGenerator().generate(outputs["transformers_df"], shuffled) == outputs["geojson"]


def test_parquet_and_hours_on_request(tmp_path: Path) -> None:
    outputs, folder = saved(tmp_path / "out", num_meters=200, num_months=1, parquet=True, hourly=True, grid="ieee9")
    for key, name in (("transformers_df", "transformers"), ("meters_df", "meter_consumption")):
        pd.testing.assert_frame_equal(pd.read_parquet(folder / f"{name}.parquet"), outputs[key])
    pipeline = SyntheticDataPipeline(small(num_meters=200, num_months=1))
    hours = pd.read_parquet(folder / "hourly_consumption.parquet")
    pd.testing.assert_frame_equal(hours, pd.concat(hourly_frames(pipeline.meters), ignore_index=True))
    loads = pd.read_parquet(folder / "bus_loads.parquet")
    assert list(loads) == ["timestamp", "temperature_c", "bus_5", "bus_7", "bus_9"]
    total_mwh = outputs["meters_df"][pipeline.config.consumption_columns].to_numpy().sum() / 1000
    assert loads.filter(like="bus_").to_numpy().sum() == pytest.approx(total_mwh, rel=1e-9)
    buses = pd.read_csv(folder / "transformer_buses.csv")
    assert list(buses) == ["transformer_id", "bus"]
    assert set(buses["bus"]) == {"bus_5", "bus_7", "bus_9"}


def test_a_grid_that_does_not_fit_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="no such case"):
        SyntheticDataPipeline(small(grid="ieee15"))
    with pytest.raises(InputError, match="99 buses with load"):
        SyntheticDataPipeline(small(grid="ieee118"))
    with pytest.raises(InputError, match="chunk_meters"):
        SyntheticDataPipeline(small(), 0)


def peak_bytes(folder: Path, n_meters: int) -> int:
    """Largest memory of a chunked run: NumPy's and Python's, and Arrow's."""
    config = GeneratorConfig(num_meters=n_meters, num_transformers=100, num_months=24, output_dir=folder, parquet=True)
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        SyntheticDataPipeline(config, BLOCK).run()
        return tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)


def test_memory_is_bounded_by_the_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "_ROWS", BLOCK)
    peak_bytes(tmp_path / "warm", BLOCK)
    few, many = (peak_bytes(tmp_path / f"{n}", n * BLOCK) for n in (4, 12))
    # All that grows is a few integers a meter; a meter's row of 24 months is 250 bytes in NumPy alone.
    assert few > BLOCK * 24 * 8
    assert (many - few) / (8 * BLOCK) < 60


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_decimals_read_back_as_rounded_values(values: list[float], tag: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        frame = pd.DataFrame({"name": [f"n{tag}"] * len(values), "kVA": values, "lat": values})
        with CsvTable(path) as table:
            table.write(frame.iloc[:3])
            table.write(frame.iloc[3:])
        read = pd.read_csv(path)
        np.testing.assert_array_equal(read["kVA"], np.rint(np.array(values) * 100) / 100)
        np.testing.assert_array_equal(read["lat"], np.rint(np.array(values) * 1e6) / 1e6)
        assert (read["name"] == f"n{tag}").all()


@pytest.mark.parametrize(
    ("case", "n"), [("ieee9", 3), ("ieee14", 14), ("ieee14", 400), ("ieee118", 99), ("ieee57", 500)]
)
def test_every_bus_has_a_run_of_neighbours(case: str, n: int) -> None:
    grid = unlearn.load_case(case)
    frame = TransformerGenerator(GeneratorConfig(num_transformers=n)).generate()
    bus = transformer_buses(frame, grid)
    assert (np.diff(bus) >= 0).all()
    assert sorted(set(bus)) == list(range(grid.n_loads))
    np.testing.assert_array_equal(bus, transformer_buses(frame, grid))
    if frame["barangay"].nunique() >= grid.n_loads:
        assert (pd.Series(bus).groupby(frame["barangay"]).nunique() == 1).all()


@given(st.lists(st.integers(1, 5000), min_size=14, max_size=60), st.data())
def test_any_capacities_and_clusters(capacity: list[int], data: st.DataObject) -> None:
    grid = unlearn.load_case("ieee14")
    cluster = np.sort(data.draw(st.lists(st.integers(0, 20), min_size=len(capacity), max_size=len(capacity))))
    frame = pd.DataFrame({"barangay": [f"B{c}" for c in cluster], "capacity_kVA": np.array(capacity, float)})
    bus = transformer_buses(frame, grid)
    assert (np.diff(bus) >= 0).all()
    assert sorted(set(bus)) == list(range(14))


def test_runs_are_as_large_as_their_bus(grid: GridCase) -> None:
    frame = TransformerGenerator(GeneratorConfig(num_transformers=60)).generate()
    frame = pd.concat([frame.assign(barangay=f"{k}", feeder_id="FD_01") for k in range(200)], ignore_index=True)
    bus = transformer_buses(frame, grid)
    capacity = np.bincount(bus, frame["capacity_kVA"]) / frame["capacity_kVA"].sum()
    # A cut is half a cluster off at most, so a run a whole one.
    np.testing.assert_allclose(capacity, grid.nominal_load_mw / grid.nominal_load_mw.sum(), atol=1 / 200 + 1e-9)


def test_too_few_transformers_are_refused(grid: GridCase) -> None:
    config = small(num_transformers=13)
    with pytest.raises(
        InputError, match="grid ieee14: expected a transformer for each of its 14 buses with load, got 13"
    ):
        bus_loads(config, grid)


def test_loads_are_the_meters_hours(grid: GridCase) -> None:
    config = small(last_month="2024-02")
    dataset = bus_loads(config, grid)
    assert dataset.load_names == tuple(f"bus_{number}" for number in grid.bus_numbers[grid.load_bus])
    assert (dataset.timestamps[0], dataset.timestamps[-1]) == (
        pd.Timestamp("2023-12-01 00:00"), pd.Timestamp("2024-02-29 23:00"),
    )  # fmt: skip
    meters, _ = MeterGenerator(config).generate()
    month = dataset.timestamps.strftime("monthly_consumption_%Y%m")
    by_month = pd.DataFrame(dataset.load_mw, dataset.timestamps).groupby(month).sum() * 1000
    bus = transformer_buses(TransformerGenerator(config).generate(), grid)
    of_meter = bus[meters["transformer_id"].str[3:].astype(int) - 1]
    expected = meters[config.consumption_columns].groupby(of_meter).sum().T
    np.testing.assert_allclose(by_month, expected.loc[by_month.index], rtol=1e-9)
    assert dataset.base_mva == grid.base_mva


def test_the_linear_forecaster_learns_from_them(grid: GridCase) -> None:
    dataset = bus_loads(small(num_meters=4000, num_transformers=60), grid).scaled_to(grid.nominal_load_mw)
    model = unlearn.fit_linear(dataset)
    test = dataset.split.test
    error = ((model.forecast(dataset.features[test]) - dataset.load_pu[test]) ** 2).mean()
    mean = ((dataset.load_pu[dataset.split.train].mean(axis=0) - dataset.load_pu[test]) ** 2).mean()
    assert error < 0.4 * mean
    # The temperature explains some of what the calendar does not.
    temperature = dataset.features[:, 0, dataset.feature_names.index("temperature_c")]
    hour = dataset.timestamps.hour
    afternoon = (hour == 14) & (dataset.timestamps.day_of_week < 5)
    assert np.corrcoef(temperature[afternoon], dataset.load_pu[afternoon].sum(axis=1))[0, 1] > 0.8
