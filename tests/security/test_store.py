"""Damage to what is kept: bits that flip, and processes that are killed while they write."""

import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors import SafetensorError
from safetensors.torch import load_file

import unlearn
from tests.detectors.builders import small_division
from tests.detectors.gans import small_windows
from tests.experiments.conftest import Runner
from tests.generators.builders import households
from tests.proofs import proof_count
from tests.security.conftest import Attacked
from unlearn.data import LoadDataset
from unlearn.detectors import Autoencoder, fit_candidates
from unlearn.detectors.storage import load_detector, save_detector
from unlearn.errors import DataError
from unlearn.forecasters import Forecaster
from unlearn.generators.faraday import VaeOptions, load_faraday, save_faraday, untrained_faraday
from unlearn.households import load_profiles, save_profiles
from unlearn.records import read_parquet, write_parquet
from unlearn.store import kept
from unlearn.studies.detection.archive import load_archive, save_archive, score_division

TRIES, KILLS = proof_count(200), proof_count(10)

#: What the same attack changed in silence before files carried checksums, of how many tries.
BEFORE = {
    "linear": "79 of 200", "cnn": "98 of 200", "faraday": "66 of 100", "detector": "80 of 100",
    "profiles": "124 of 150", "scores": "not measured", "records": "not measured", "cache": "29 of 160",
}  # fmt: skip

Read = Callable[[Path], object]


def digest(*values: object) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(value).tobytes() for value in values)).hexdigest()


def of_model(folder: Path) -> str:
    model = unlearn.load_forecaster(folder)
    sums = model.statistics.to_tensors() if model.statistics else {}
    return digest(*(value.numpy() for value in (*model.state_dict().values(), *sums.values())))


def of_faraday(folder: Path) -> str:
    released = load_faraday(folder).sample(20, seed=1)
    return released.fingerprint


def of_detector(folder: Path) -> str:
    return digest(*(value.numpy() for value in load_detector(folder).network.state_dict().values()))  # type: ignore[union-attr]


def of_archive(folder: Path) -> str:
    archive = load_archive(folder / "scores.npz")
    return digest(*vars(archive.test_hour).values(), *vars(archive.test_window).values())


TABLE = pd.DataFrame({"value": np.linspace(0.0, 1.0, 500), "metric": ["cost", "mape"] * 250})


def of_cache(file: Path) -> str:
    table = kept(file, lambda: read_parquet(file), lambda: write_parquet(TABLE, file))
    return digest(*table.to_numpy().astype(str))


def kinds(linear: Forecaster, cnn: Forecaster) -> dict[str, tuple[Callable[[Path], object], Read]]:
    """Of each kind of file: what writes it into a folder, and what reads it."""
    vae, division = VaeOptions(latent=3, hidden=8), small_division()
    scores = score_division(fit_candidates("seasonal", division.train), division, "seasonal", 0)[0]
    faraday = untrained_faraday(("a", "b"), 48, vae, seed=0)
    (detector,) = Autoencoder(3, 1).fit(small_windows())
    profiles = households(n=4, n_days=20)
    return {
        "linear": (lambda folder: unlearn.save_forecaster(linear, folder), of_model),
        "cnn": (lambda folder: unlearn.save_forecaster(cnn, folder), of_model),
        "faraday": (lambda folder: save_faraday(faraday, folder), of_faraday),
        "detector": (lambda folder: save_detector(detector, folder), of_detector),
        "profiles": (
            lambda folder: save_profiles(profiles, folder / "p.parquet"),
            lambda folder: load_profiles(folder / "p.parquet").fingerprint,
        ),
        "scores": (lambda folder: save_archive(scores, folder / "scores.npz", readings=True), of_archive),
        "records": (
            lambda folder: write_parquet(TABLE, folder / "records.parquet"),
            lambda folder: digest(*read_parquet(folder / "records.parquet").to_numpy().astype(str)),
        ),
        "cache": (
            lambda folder: write_parquet(TABLE, folder / "t.parquet"),
            lambda folder: of_cache(folder / "t.parquet"),
        ),
    }


def flipped(folder: Path, random: np.random.Generator) -> tuple[Path, bytes]:
    """Flip one bit of one byte of all that a folder holds; return the file and what it was."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    at = int(random.integers(sum(file.stat().st_size for file in files)))
    for file in files:
        if at < file.stat().st_size:
            content = file.read_bytes()
            file.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(random.integers(8))]) + content[at + 1 :])
            return file, content
        at -= file.stat().st_size
    raise AssertionError


@pytest.mark.proof
def test_no_flipped_bit_changes_anything_in_silence(
    tmp_path: Path, linear: Forecaster, cnn: Forecaster, attacked: Attacked
) -> None:
    silent = {}
    for name, (make, read) in kinds(linear, cnn).items():
        folder, random = tmp_path / name, np.random.default_rng(7)
        make(folder)
        whole, found = read(folder), {"refused": 0, "as before": 0, "silent": 0}
        for _ in range(TRIES):
            file, content = flipped(folder, random)
            try:
                found["as before" if read(folder) == whole else "silent"] += 1
            except DataError as error:
                found["refused"] += str(file) in str(error)
            file.write_bytes(content)
        silent[name] = found["silent"]
        assert found["refused"] == (0 if name == "cache" else TRIES), (name, found)  # a cache is made anew
        attacked(f"flip a bit of {name}", TRIES, f"{BEFORE[name]} silent", f"{found['silent']} silent")
    assert set(silent.values()) == {0}


@pytest.mark.proof
def test_a_flip_in_a_model_is_silent_where_nobody_verifies(tmp_path: Path, linear: Forecaster) -> None:
    """The positive control: the same flips, read as safetensors alone."""
    file = unlearn.save_forecaster(linear, tmp_path / "model") / "model.safetensors"
    whole, random, silent = file.read_bytes(), np.random.default_rng(7), 0
    before = {name: digest(value.numpy()) for name, value in load_file(file).items()}
    for _ in range(TRIES):
        at = int(random.integers(len(whole)))
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1 :])
        try:
            silent += {name: digest(value.numpy()) for name, value in load_file(file).items()} != before
        except SafetensorError:
            continue
    assert silent > TRIES // 4


EXPERIMENTS: dict[str, list[str]] = {
    "train": [],
    "influence": [],
    "unlearn": ["criterion=mse", "tuning=none"],
    "tradeoff": [],
    "poisoning": ["data.n_hours=600"],
}


def measured(folder: Path) -> pd.DataFrame:
    records = read_parquet(folder / "records.parquet")
    return records[~records["unit"].isin(["s", "us/h"])].reset_index(drop=True)


def forked(work: Callable[[], Any]) -> int:
    """Start something in a process of its own, as a fork: a new Python takes seconds."""
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


@pytest.mark.proof
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_killed_run_leaves_nothing_and_ends_with_the_same_records(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attacked: Attacked
) -> None:
    def run(folder: Path) -> None:
        monkeypatch.chdir(folder)
        Runner(folder, monkeypatch)(name, "data.n_hours=300", "evaluation.hours=6", *EXPERIMENTS[name])

    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    start = time.monotonic()
    assert os.waitpid(forked(lambda: run(alone)), 0)[1] == 0
    seconds, random, kills = time.monotonic() - start, np.random.default_rng(3), 0
    for _ in range(KILLS):
        pid = forked(lambda: run(killed))
        time.sleep(float(random.uniform(0.0, seconds)))
        os.kill(pid, signal.SIGKILL)
        kills += os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert os.waitpid(forked(lambda: run(killed)), 0)[1] == 0
    pd.testing.assert_frame_equal(measured(killed / "out" / name), measured(alone / "out" / name))
    left = list(killed.rglob("*.unlearn-*"))
    assert left == []
    assert kills
    attacked(f"kill {name} while it runs", kills, "temporary files stay", f"equal records, {len(left)} left")


@pytest.mark.proof
def test_what_lies_in_the_folder_of_a_killed_run_before_its_restart_is_never_taken_for_whole(
    dataset: LoadDataset, linear: Forecaster, tmp_path: Path
) -> None:
    """Every file that a kill can leave under its final name is whole: kills at random moments of a writer."""
    random = np.random.default_rng(1)
    for number in range(KILLS):
        folder = tmp_path / str(number)
        pid = forked(lambda folder=folder: [unlearn.save_forecaster(linear, folder / str(i)) for i in range(1000)])  # type: ignore[misc]
        time.sleep(float(random.uniform(0.0, 0.2)))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for card in folder.glob("*/card.json"):
            unlearn.load_forecaster(card.parent)
