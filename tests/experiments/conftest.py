"""Entry points run in this process, in a folder of their own."""

import importlib
import sys
from pathlib import Path

import pytest

SMALL = ["experiment=tiny", "data.n_hours=600", "evaluation.hours=24"]


class Runner:
    """Runs `python -m experiments.NAME OVERRIDES` without starting another Python."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch

    def __call__(self, name: str, *overrides: str) -> Path:
        out = self.folder / "out" / name
        module = importlib.import_module(f"experiments.{name}")
        argv = [name, *SMALL, f"models={self.folder / 'models'}", f"hydra.run.dir={out}", *overrides]
        self._monkeypatch.setattr(sys, "argv", argv)
        module.main()
        return out

    def sweep(self, name: str, *overrides: str) -> Path:
        """The same as a sweep; return the sweep's folder."""
        self(name, "hydra.mode=MULTIRUN", f"hydra.sweep.dir={self.folder / 'out'}", *overrides)
        return self.folder / "out"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(tmp_path, monkeypatch)
