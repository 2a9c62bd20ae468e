"""Sweeps: jobs of the basic and the joblib launcher give one table, and the same one."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.app import CONF

ROOT = Path(__file__).resolve().parents[2]
SWEEP = ["experiment=tiny", "sweep=l1_budgets", "data.n_hours=600", "evaluation.hours=24"]
JOBS = ["hydra.sweeper.params={unlearning.l1_budget: '0,0.1', criterion: 'mse,mape'}"]


def sweep(folder: Path, launcher: str) -> pd.DataFrame:
    out = folder / launcher
    command = [sys.executable, "-m", "experiments.unlearn", *SWEEP, *JOBS, f"hydra/launcher={launcher}"]
    command += [f"hydra.sweep.dir={out}", f"models={folder / 'models'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_parquet(out / "table.parquet")
    assert len(list(out.glob("*/records.parquet"))) == 4
    keys = ["criterion", "l1_budget", "method", "metric"]
    return table.sort_values(keys).set_index(keys)[["value"]]


def test_both_launchers_collect_the_same_table(tmp_path: Path) -> None:
    basic = sweep(tmp_path, "basic")
    parallel = sweep(tmp_path, "joblib")
    assert len(basic) == 4 * 22
    # One thread a job, so the same sums in the same order.
    pd.testing.assert_frame_equal(basic, parallel, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("shares", {"unlearning.share": "0.05,0.1,0.15,0.2,0.25,0.3"}),
        ("forecasters", {"forecaster": "linear,cnn,mixer"}),
        ("seeds", {"seed": "0,1,2", "split.seed": "${seed}"}),
    ],
)
def test_named_sweeps_turn_multirun_on(name: str, params: dict[str, str]) -> None:
    with initialize_config_dir(config_dir=CONF, version_base="1.3"):
        raw = compose("config", overrides=[f"sweep={name}"], return_hydra_config=True)
    assert raw.hydra.mode.name == "MULTIRUN"
    assert OmegaConf.to_container(raw.hydra.sweeper.params, resolve=False) == params
