"""Entry points run in this process, in a folder of their own."""

import importlib
import sys
from pathlib import Path

import pytest

from tests.snapshots.take import smaller
from unlearn.records import read_json
from unlearn.reporting.style import NOT_A_RESULT


class Runner:
    """Runs `python -m experiments.NAME OVERRIDES` without starting another Python."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        #: Said to every program; None is what makes it small.
        self.small: list[str] | None = None
        self._monkeypatch = monkeypatch

    def __call__(self, name: str, *overrides: str) -> Path:
        out = self.folder / "out" / name
        module = importlib.import_module(f"experiments.{name}")
        kept = [f"store={self.folder / 'store'}"] if "store" in module.main.program.sections else []
        small = smaller(name) if self.small is None else self.small
        argv = [name, *small, *kept, f"hydra.run.dir={out}", *overrides]
        self._monkeypatch.setattr(sys, "argv", argv)
        module.main()
        if "hydra.mode=MULTIRUN" not in overrides:
            assert_ended(out)
        return out

    def sweep(self, name: str, *overrides: str) -> Path:
        """The same as a sweep; return the sweep's folder."""
        self(name, "hydra.mode=MULTIRUN", f"hydra.sweep.dir={self.folder / 'out'}", *overrides)
        return self.folder / "out"


def assert_ended(out: Path) -> None:
    """A single run ends with three numbers and a page, and a page of a tiny run says that it is no result."""
    card = read_json(out / "run.json")
    assert card["config"]["tiny"]
    assert len(card["numbers"]) == 3
    shown = Path(card["shown"])
    assert shown.exists()
    if shown.suffix == ".html":
        assert shown.read_text().index(NOT_A_RESULT) < shown.read_text().index("<h1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(tmp_path, monkeypatch)
