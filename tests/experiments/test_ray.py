"""Sweeps on a Ray cluster of two nodes that run on this machine."""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments.sweeps import MANY, ROOT, assert_same, cards, sweep, table

pytestmark = pytest.mark.ray
pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="Ray has an environment of its own: make test-ray")

PORT = 6411


@contextlib.contextmanager
def node(folder: Path, *arguments: str) -> Iterator[None]:
    """A node of a core that is started in a folder, with the library where its workers find it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen([*command, *arguments], cwd=folder, env=environment, stdout=stream, stderr=stream)
    try:
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.1)
        yield
    finally:
        process.terminate()  # it takes its own processes with it, and no other cluster's, as `ray stop` would
        process.wait()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes and sweeps of a cluster know each other by a token; this one is the test's own."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Two nodes whose folders are not the one that the sweep starts in."""
    address = f"127.0.0.1:{PORT}"
    for name in ("head", "worker"):
        (tmp_path / name).mkdir()
    with (
        node(tmp_path / "head", "--head", f"--port={PORT}", "--node-ip-address=127.0.0.1"),
        node(tmp_path / "worker", f"--address={address}"),
    ):
        yield address


def test_6_jobs_of_two_nodes_give_the_table_of_one_process(tmp_path: Path, cluster: str) -> None:
    sweep(tmp_path, "one", *MANY)
    join = f"hydra.launcher.ray.init.address='{cluster}'"
    said = sweep(tmp_path, str(tmp_path / "nodes"), *MANY, "hydra/launcher=ray", join, "store=others")
    assert "Started a local Ray instance" not in said
    assert len(cards(tmp_path / "nodes")) == 6
    assert_same(table(tmp_path / "nodes"), table(tmp_path / "one"))


def test_a_cluster_is_started_where_none_is_named(tmp_path: Path) -> None:
    said = sweep(tmp_path, "out", "criterion=mse,mape", "hydra/launcher=ray")
    assert "Started a local Ray instance" in said
    assert len(cards(tmp_path / "out")) == 2
    assert (tmp_path / "out" / "table.parquet").is_file()
