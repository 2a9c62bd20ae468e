"""The benchmark runs in a tiny mode: every part leaves its records and its table; what it times is what it says."""

import os
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.benchmarks.dispatch import Hours
from experiments.benchmarks.encrypted import time_encrypted
from experiments.benchmarks.options import BenchmarkOptions
from experiments.benchmarks.scaling import add_exponent, stream
from experiments.benchmarks.timing import Timing, add_timing, in_a_process, peak_memory_mb, repeat
from tests.experiments.conftest import Runner
from tests.proofs import proof_count
from unlearn.errors import InputError
from unlearn.records import RecordTable

TINY = ["benchmark.repeats=1", "data.n_hours=400"]


@pytest.fixture
def tables(run: Runner):
    def read(part: str, *overrides: str) -> tuple[pd.DataFrame, str]:
        folder = run("benchmark", f"benchmark.parts=[{part}]", *TINY, *overrides)
        return pd.read_parquet(folder / "records.parquet"), (folder / "benchmark.md").read_text()

    return read


@pytest.mark.slow
def test_dispatch_compares_every_backend(tables) -> None:
    sizes = ["benchmark.grids=[ieee14]", "benchmark.hours=[40]", "benchmark.sample_hours=2"]
    records, text = tables("dispatch", *sizes)
    times = records[records["metric"] == "time_median"]
    assert set(times.loc[times["method"] == "batched", "state"]) == {"cold", "first pass", "warm"}
    assert set(times["what"]) == {"forward", "forward, ready for backward", "forward + backward"}
    assert (times["value"] > 0).all()
    warm = records[(records["state"] == "warm") & (records["metric"] == "hit_rate")]
    assert (warm["value"] == 1).all()
    dense = records[(records["method"] == "cvxpylayers dense, PTDF")].set_index("metric")["value"]
    assert dense["cost_difference"] < 1e-4
    assert dense["gradients_off"] == 0
    assert "| ieee14 | cvxpylayers default, angle (published) | 2 |" in text


def test_curvature_is_exact_however_it_is_solved(tables) -> None:
    records, text = tables("curvature", "benchmark.sequential_steps=5", "grid.case=ieee9")
    errors = records[records["metric"] == "error"].set_index("method")["value"]
    assert errors["kept statistics: downdate, one Cholesky"] < 1e-9
    assert (errors < 1e-6).all()
    assert "sequence" in text


@pytest.mark.slow
def test_influence_agrees_with_the_plain_ways(tables) -> None:
    sizes = ["benchmark.influence_rows=160", "benchmark.scored_rows=200", "benchmark.network_rows=60"]
    records, text = tables("influence", *sizes, "benchmark.network_width=4", "benchmark.network_threads=1")
    errors = records[records["metric"] == "error"].set_index("method")["value"]
    assert errors["CG with blocks"] < 1e-9
    assert errors["one backward pass per row"] < 1e-9
    assert errors["a pass through the loader, as torch-influence"] < 1e-9
    assert (errors < 0.02).all()
    assert records.loc[records["metric"] == "spearman", "value"].item() > 0.99
    assert records.loc[records["metric"] == "condition", "value"].item() > 3e4
    assert "| scores of 200 rows, solved before | one backward pass per row |" in text


@pytest.mark.slow
def test_scaling_streams_and_fits_an_exponent(tables) -> None:
    records, text = tables("scaling", "benchmark.stream_hours=[50,100]", "benchmark.scaling_grids=[ieee9,ieee14]")
    assert set(records.loc[records["metric"] == "exponent", "what"]) == {"hours", "grids"}
    memory = records.loc[records["metric"] == "peak_memory", "value"]
    assert ((memory > 50) & (memory < 2000)).all()
    assert "Fitted exponent of time over hours" in text


@pytest.mark.slow
def test_cold_start_is_that_of_fresh_processes(tables) -> None:
    records, text = tables("cold_start")
    cold = records[records["metric"] == "time_median"]
    assert set(cold["what"]) == {"import unlearn", "first price", "first fitted forecaster"}
    assert "## Cold start" in text


@pytest.mark.slow
def test_feeders_are_timed_beside_the_document(tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.benchmarks.feeder.DOCUMENTED", ((3, 40, 2, 25.0),))
    records, text = tables("feeder", "benchmark.feeder_meters=[60]", "benchmark.feeder_hourly_meters=[50]")
    assert (records["part"] == "feeder").all()
    assert set(records["method"]) == {"generate_all + save_outputs", "GhostLoad Mapper document", "files", "bus loads"}
    memory = records.loc[records["metric"] == "peak_memory", "value"]
    assert ((memory > 50) & (memory < 2000)).all()
    assert "| 3 transformers, 40 meters, 2 months |" in text
    assert "| 50 meters, 12 months | bus loads |" in text


def test_repeat_warms_up_and_prepares_each_call() -> None:
    calls: list[str] = []
    timing = repeat(lambda: calls.append("call"), 3, lambda: calls.append("prepare"))
    assert calls == ["prepare", "call"] * 4
    assert len(timing.seconds) == 3


@pytest.mark.slow
def test_memory_is_that_of_the_process_alone(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "little.py").write_text("from experiments.benchmarks.timing import print_result\nprint_result({})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    ballast = np.ones(2**27)  # 1 GB, which the process that is started never holds
    assert 20 < in_a_process("little", threads=1)["peak_memory"] < ballast.nbytes / 2**20 < peak_memory_mb()


def test_timings_are_median_and_range() -> None:
    table = RecordTable()
    add_timing(table, Timing(np.array([4.0, 1.0, 2.0])), per=2, unit="ms/h", scale=1e3)
    values = table.to_frame().set_index("metric")["value"]
    assert values.to_dict() == {"time_median": 1000.0, "time_min": 500.0, "time_max": 2000.0}


def test_the_exponent_is_that_of_a_power_law() -> None:
    table = RecordTable()
    add_exponent(table, [10, 100, 1000], [2.0 * n**0.97 for n in (10, 100, 1000)], what="hours")
    assert table.to_frame()["value"][0] == pytest.approx(0.97)


def test_streamed_hours_are_scaled_hours_of_the_year() -> None:
    load = torch.rand(20, 3, dtype=torch.float64)
    year = Hours(2 * load, load, torch.arange(10), torch.arange(10, 20))
    chunks = list(stream(year, 10_000))
    assert [len(forecast) for forecast, _ in chunks] == [8192, 1808]
    for forecast, truth in chunks:
        torch.testing.assert_close(forecast, 2 * truth)
        shape = truth / truth.sum(dim=1, keepdim=True)
        assert torch.cdist(shape, load / load.sum(dim=1, keepdim=True)).amin(dim=1).max() < 1e-7


@pytest.mark.slow
def test_latent_inversion_agrees_however_it_is_searched(tables) -> None:
    sizes = ["households.n_households=12", "households.n_days=44", "gan.inversion.max_iter=4"]
    records, text = tables("anomaly", *sizes)
    own = records.pivot_table(index="method", columns="metric", values="value")
    exact = ["one at a time, as published", "one at a time, lean", "all at once"]
    assert own.loc[exact, "score_difference"].max() < 1e-4
    assert own.loc[exact, "steps"].eq(4).all()
    assert own.loc["random start, patience 3", "steps"] <= 4
    assert own.loc["hourly start, 1 step", "score_change"] < own.loc["random start, 1 step", "score_change"]
    assert (own["time_median"] > 0).all()
    assert own["auc"].between(0, 1).sum() == len(own) - 2, "of all but the few windows that are searched one at a time"
    assert (own["auc_change_low"] <= own["auc_change_high"]).sum() == len(own) - 2
    assert own.loc["all at once", "alone_difference"] == 0
    assert own.loc["all at once", "double_difference"] < 1e-9
    assert "| 1 of 60 hours, at most 4 steps, 1 thread | one at a time, as published |" in text
    assert "alone and in a batch 0; " in text


@pytest.mark.slow
def test_a_request_is_timed_beside_fitting_by_hand(tables) -> None:
    records, text = tables(
        "requests", "benchmark.request_customers=30", "benchmark.customer_days=30", "grid.case=ieee9"
    )
    times = records[records["metric"] == "time_median"].set_index("method")["value"]
    assert (times > 0).all()
    assert {"forget 1, with evidence", "by hand: sum up and fit anew"} <= set(times.index)
    assert "## Deletion requests" in text


@pytest.mark.slow
def test_bounds_of_certified_removals_hold_and_are_not_vacuous(tables) -> None:
    records, text = tables("certified", "grid.case=ieee9")
    values = records[records["sigma"] > 0].set_index("metric")["value"]
    assert (values["largest_residual_of_bound"] <= 1).all()
    assert (values["residual_of_bound"] > 1e-4).all()
    assert (values["distance_of_bound"] <= 1).all()
    assert "## Certified removal" in text


def test_private_sums_are_exact(tables) -> None:
    records, text = tables("private_sums", "benchmark.private_sum_meters=60")
    assert records.loc[records["metric"] == "error", "value"].eq(0).all()
    values = records[records["method"].str.startswith("Shamir")].set_index("metric")["value"]
    assert values["meter_bytes"] == 5 * (12 + 16 + 24 * 8 + 16)
    assert "| 60 meters, 24 hours, 50 a group | Shamir, 5 aggregators, threshold 2 |" in text
    # Encrypted ones where TenSEAL is installed.
    assert set(records["method"]) - {"BFV, one key holder", "BFV, 2 of 3 key holders"} == {records["method"][0]}


@pytest.mark.extras
@pytest.mark.slow
def test_joint_computations_agree_with_plain_ones(tables) -> None:
    records, text = tables("joint", "benchmark.joint_intervals=48")
    error = records[records["metric"] == "error"].set_index("what")["value"]
    assert error.drop(["correlation", "14 loads, 20 public columns", "the same without a customer"]).eq(0).all()
    assert (error["correlation"] <= 0.5e-3 + 1e-6).all()  # r is opened with three digits
    assert error.loc[["14 loads, 20 public columns", "the same without a customer"]].lt(1e-10).all()
    assert set(records["method"]) == {"3 parties", "5 parties"}
    assert "## Joint computations in processes of their own" in text


@pytest.mark.extras
@pytest.mark.slow
def test_encrypted_sums_are_exact_whatever_encrypts_them(tables) -> None:
    records, text = tables("encrypted", "benchmark.encrypted_meters=4", "benchmark.paillier_meters=4")
    sums = records[records["what"].str.startswith("sum")]
    assert sums.loc[sums["metric"] == "error", "value"].eq(0).all()
    assert {"in the clear", "tenseal", "Paillier, 3072 bits, 24 hours in a ciphertext"} <= set(sums["method"])
    assert records.loc[records["metric"] == "seconds", "value"].gt(0).all()
    forecasts = records[records["what"].str.startswith("forecast") & records["metric"].eq("error")]
    assert forecasts["value"].between(0, 1e-4).all()
    own = records[records["method"] == "CKKS with a bound"].pivot_table("value", "what", "metric")
    assert (own["error"] <= own["bound"].fillna(0.0)).all()
    assert len(own) == 3
    assert "## Encrypted sums and forecasts" in text


@pytest.mark.parametrize("n", [1, 1062])
def test_as_many_meters_as_sums_have_room_for_are_encrypted(n: int) -> None:
    job = cast(Any, SimpleNamespace(benchmark=BenchmarkOptions(encrypted_meters=n)))
    with pytest.raises(InputError, match="encrypted_meters: expected 2 to 1,061"):
        time_encrypted(job, RecordTable(experiment="benchmark"))


@pytest.mark.extras
@pytest.mark.slow
def test_a_server_of_many_clients_keeps_its_memory() -> None:
    found = in_a_process("experiments.benchmarks.encrypted_reals", "clients", proof_count(400), threads=1)
    assert found["all"] < found["first"] + 20
