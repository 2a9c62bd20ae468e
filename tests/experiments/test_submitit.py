"""Sweeps through submitit: as processes of this machine, and as an array of a stand-in for SLURM."""

import os
from pathlib import Path

import pandas as pd
import pytest

from tests.experiments.sweeps import MANY, assert_same, cards, sweep, table

pytestmark = pytest.mark.extras
pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra `slurm` is not installed")

#: sbatch keeps the script it is given and starts its tasks as SLURM would, all at once.
SBATCH = r"""#!/bin/bash
cp "$1" "$CLUSTER/script.sh"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$1")
export SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=here
export SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
for task in $(seq 0 "$last"); do
  SLURM_ARRAY_TASK_ID=$task bash "$CLUSTER/script.sh" > "$CLUSTER/log.$task" 2>&1 < /dev/null &
done
echo "Submitted batch job 7"
"""
#: srun runs the command that follows its options.
SRUN = """#!/bin/bash
exec "${@:6}"
"""
SACCT = """#!/bin/bash
printf 'JobID|State|NodeList\n7_0|RUNNING|here\n7_1|RUNNING|here\n'
"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table of 6 jobs of one process."""
    folder = tmp_path_factory.mktemp("one")
    sweep(folder, "one", *MANY)
    return table(folder / "one")


def test_6_jobs_as_processes_of_their_own_give_the_table_of_one(tmp_path: Path, expected: pd.DataFrame) -> None:
    sweep(tmp_path, "local", *MANY, "hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=4")
    assert len(cards(tmp_path / "local")) == 6
    assert_same(table(tmp_path / "local"), expected)


def test_slurm_gets_the_array_that_was_asked_for(
    tmp_path: Path, expected: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setenv("CLUSTER", str(tmp_path))
    two = ["criterion=mse,cost", "unlearning.l1_budget=0.1", "unlearning.share=0.2"]
    asked = ["hydra.launcher.partition=cpu", "hydra.launcher.array_parallelism=1", "hydra.launcher.timeout_min=30"]
    sweep(tmp_path, "slurm", *two, "hydra/launcher=submitit_slurm", *asked)
    found = table(tmp_path / "slurm")
    assert found["config_hash"].nunique() == 2
    assert_same(found, expected[expected["config_hash"].isin(found["config_hash"])])
    script = (tmp_path / "script.sh").read_text()
    for line in ("--partition=cpu", "--array=0-1%1", "--time=30", "--cpus-per-task=1", "--mem=4GB"):
        assert f"#SBATCH {line}\n" in script
    assert "export OMP_NUM_THREADS=1" in script
