"""Sweeps on a Ray cluster of two nodes that run on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments.sweeps import MANY, ROOT, assert_same, cards, sweep, table

pytestmark = pytest.mark.ray
pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="Ray has an environment of its own: make test-ray")

PORT = 6411


def ray(folder: Path, *arguments: str) -> None:
    """Run Ray's command line in a folder, with the library where its workers find it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [str(Path(sys.executable).with_name("ray")), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """Two nodes of a core each; their folder is not the one that the sweep starts in."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    address = f"127.0.0.1:{PORT}"
    common = ["--num-cpus=1", "--disable-usage-stats"]
    ray(elsewhere, "start", "--head", f"--port={PORT}", "--node-ip-address=127.0.0.1", *common)
    try:
        ray(elsewhere, "start", f"--address={address}", *common)
        yield address
    finally:
        ray(elsewhere, "stop", "--force")


def test_24_jobs_of_two_nodes_give_the_table_of_one_process(tmp_path: Path, cluster: str) -> None:
    sweep(tmp_path, "one", *MANY)
    join = f"hydra.launcher.ray.init.address='{cluster}'"
    said = sweep(tmp_path, str(tmp_path / "nodes"), *MANY, "hydra/launcher=ray", join, "models=others")
    assert "Started a local Ray instance" not in said
    assert len(cards(tmp_path / "nodes")) == 24
    assert_same(table(tmp_path / "nodes"), table(tmp_path / "one"))


def test_a_cluster_is_started_where_none_is_named(tmp_path: Path) -> None:
    said = sweep(tmp_path, "out", "criterion=mse,mape", "hydra/launcher=ray")
    assert "Started a local Ray instance" in said
    assert len(cards(tmp_path / "out")) == 2
    assert (tmp_path / "out" / "table.parquet").is_file()
