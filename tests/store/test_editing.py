"""Editing the source of the library: what is fitted anew, and what is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unlearn

#: Fits a forecaster, makes a release, and says which of the two it made and did not take from the store.
PROGRAM = """
import numpy as np
import pandas as pd
import unlearn
from unlearn.generators import make_generator
from unlearn.households import load_households
from unlearn.store import Store

store, made = Store("kept"), []
generator = make_generator("independent_gaussian")
grid = unlearn.load_case("ieee9")
data = unlearn.load_dataset("synthetic", nominal_mw=grid.nominal_load_mw, n_hours=200)
days = load_households("simulator", n_households=4, n_days=10)


def fit(folder):
    made.append("forecaster")
    unlearn.save_forecaster(unlearn.fit_linear(data), folder / "model")


def released():
    made.append("release")
    return pd.DataFrame(generator.release(days, 5).kwh)


store.get("forecaster", make=fit, read=lambda folder: unlearn.load_forecaster(folder / "model"),
          data={"train": data}, code=(unlearn.fit_linear,))
store.table("release", make=released, data={"train": days}, code=(type(generator),))
print(*made)
"""
#: What is edited, how, and what is made anew by it.
FIGURE, GENERATOR = "studies/poisoning/report.py", "generators/baselines.py"
EDITS = [
    pytest.param(FIGURE, "\nMORE = 1\n", "", id="a figure"),
    pytest.param(GENERATOR, "\nMORE = 1\n", "release", id="a generator"),
]  # fmt: skip
MORE_EDITS = [
    pytest.param("reporting/figure.py", "\nMORE = 1\n", "", id="what draws"),
    pytest.param("forecasters/head.py", '\n"""Words."""  # more words\n', "", id="words"),
    pytest.param("forecasters/head.py", "\nMORE = 1\n", "forecaster", id="a forecaster"),
    pytest.param("forecasters/network.py", "\nMORE = 1\n", "", id="another forecaster"),
    pytest.param("households/profiles.py", "\nMORE = 1\n", "release", id="what households are"),
    pytest.param("generators/faraday/model.py", "\nMORE = 1\n", "", id="another generator"),
    pytest.param("__init__.py", "\nMORE = 1\n", "", id="what the library offers"),
    pytest.param("errors.py", "\nMORE = 1\n", "forecaster release", id="what all stand on"),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library, and what the program has kept with it."""
    folder = tmp_path_factory.mktemp("copied")
    source = Path(unlearn.__file__).parent
    shutil.copytree(source, folder / "unlearn", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(source.parent / "grids", folder / "grids")
    assert made(folder) == "forecaster release"
    return folder


def made(folder: Path) -> str:
    """Run the program with the library that lies in a folder; what it made."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
    return done.stdout.strip()


def edited(copied: Path, file: str, more: str) -> str:
    """What the program makes after an edit, which is then taken back."""
    source = copied / "unlearn" / file
    text = source.read_text()
    source.write_text(text + more)
    try:
        return made(copied)
    finally:
        source.write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "more", "anew"), EDITS)
def test_editing_a_figure_fits_nothing_and_a_generator_itself_alone(
    copied: Path, file: str, more: str, anew: str
) -> None:
    assert edited(copied, file, more) == anew


@pytest.mark.slow
@pytest.mark.parametrize(("file", "more", "anew"), MORE_EDITS)
def test_what_is_made_anew_is_what_imports_the_edited_source(copied: Path, file: str, more: str, anew: str) -> None:
    assert edited(copied, file, more) == anew
