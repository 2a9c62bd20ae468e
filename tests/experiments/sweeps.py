"""Sweeps as users start them, in a process of their own, and the tables they leave."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
#: Jobs of about half a second: few hours, and few of them priced.
TINY = ["variant=tiny", "tuning=none", "data.n_hours=300", "evaluation.hours=6"]
#: 3 x 4 x 2 = 24 jobs.
MANY = ["criterion=mse,mape,cost", "unlearning.l1_budget=0,0.1", "unlearning.share=0.2"]
FOUR = ["criterion=mse,mape", "unlearning.l1_budget=0,0.1"]
KEYS = ["criterion", "proportion", "l1_budget", "method", "metric"]


def start(folder: Path, out: str, *overrides: str) -> subprocess.Popen[str]:
    """Start a sweep of `unlearn` in `folder`, whose results go to `folder/out`."""
    command = [sys.executable, "-m", "experiments.unlearn", "--multirun", *TINY, f"hydra.sweep.dir={out}", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def hear_interrupts() -> None:
    """In a new process: hear Ctrl-C, also where the tests themselves run in the background and do not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def sweep(folder: Path, out: str, *overrides: str) -> str:
    """Run a sweep to its end; return what it said."""
    process = start(folder, out, *overrides)
    try:
        said, _ = process.communicate()
    finally:  # nothing runs on when a test is interrupted
        kill(process)
    assert process.returncode == 0, said[-3000:]
    return said


def kill_after(process: subprocess.Popen[str], out: Path, n_jobs: int) -> None:
    """Kill a sweep as soon as so many of its jobs are complete."""
    while len(cards(out)) < n_jobs and process.poll() is None:
        time.sleep(0.01)
    kill(process)
    process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a sweep and the processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def cards(out: Path) -> dict[Path, int]:
    """The complete jobs of a sweep, and when each was."""
    return {card: card.stat().st_mtime_ns for card in out.glob("*/run.json")}


def table(out: Path) -> pd.DataFrame:
    """What a sweep measured; models, times and provenance aside."""
    frame = pd.read_parquet(out / "table.parquet")
    return frame.sort_values(KEYS).set_index(KEYS)[["value", "unit", "split", "seed", "config_hash"]]


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """One thread a job, so the same sums in the same order, whichever launcher ran them."""
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12, atol=0)
