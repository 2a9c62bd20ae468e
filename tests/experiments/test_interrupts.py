"""Ctrl-C ends a run, a sweep and its processes with one sentence and the exit code of shells."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments.conftest import Runner
from tests.experiments.sweeps import FOUR, ROOT, hear_interrupts, kill, start


def interrupted(process: subprocess.Popen[str], line: str) -> str:
    """Press Ctrl-C as soon as a process has said something: all of its processes hear it. Return what it said."""
    said: list[str] = []
    try:
        assert process.stdout is not None
        while line not in (said[-1] if said else ""):
            said.append(process.stdout.readline())
            assert said[-1], "".join(said)
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate()
    finally:
        kill(process)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert "KeyboardInterrupt" not in rest
    (sentence,) = (line for line in rest.splitlines() if line.startswith("Interrupted"))
    return sentence


def program(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


@pytest.mark.slow
def test_a_sweep_says_how_it_goes_on(tmp_path: Path) -> None:
    said = interrupted(start(tmp_path, "out", *FOUR), "#1 :")
    assert said == "Interrupted: the same command with hydra.sweep.dir='out' runs only the jobs that are missing."


@pytest.mark.slow
def test_a_run_in_several_processes_says_that_it_goes_on(tmp_path: Path) -> None:
    small = ["variant=tiny", "data.n_hours=600", "evaluation.hours=24", "paper.jobs=2"]
    said = interrupted(program(tmp_path, "-m", "experiments.paper", *small), "train-")
    assert said == "Interrupted: the same command goes on where it stopped, with what is finished in results/store."


def test_a_program_that_still_loads_its_modules_ends_at_once(tmp_path: Path) -> None:
    said = interrupted(program(tmp_path, "-X", "importtime", "-m", "experiments.train"), "numpy")
    assert said == "Interrupted: the same command starts it again."


@pytest.mark.parametrize(
    ("name", "part", "said"),
    [
        ("train", "build_study", "the same command starts it again."),
        ("poisoning", "measured", "the same command goes on where it stopped, with what is finished in {store}."),
    ],
)
def test_a_single_run_says_whether_it_goes_on(
    run: Runner,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    part: str,
    said: str,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"experiments.{name}.{part}", interrupt)
    with pytest.raises(SystemExit) as end:
        run(name)
    assert end.value.code == 130
    assert capsys.readouterr().err == f"Interrupted: {said.format(store=run.folder / 'store')}\n"
    assert not (run.folder / "out" / name / "run.json").exists()
