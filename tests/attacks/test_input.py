"""Attacks by input: sizes that files claim, and loads whose names are formulas."""

from pathlib import Path

import pandas as pd

from tests.attacks.conftest import Attacked
from tests.test_limits import CASES
from unlearn.errors import InputError
from unlearn.records import write_csv


def test_sizes_that_files_claim(attacked: Attacked, tmp_path: Path) -> None:
    accepted = 0
    for name, (write, read, _) in CASES.items():
        write(tmp_path / name)
        try:
            read(tmp_path / name)
        except InputError:
            continue
        accepted += 1
    attacked("files that claim absurd sizes", len(CASES), "not measured", f"{accepted} accepted")
    assert accepted == 0


def test_formulas_in_tables(attacked: Attacked, tmp_path: Path) -> None:
    names = ["=cmd()", "+1", "-1", "@sum", "\tx", "\rx"]
    plain = sum(name.startswith(("=", "+", "-", "@", "\t", "\r")) for name in names)
    written = pd.read_csv(write_csv(pd.DataFrame({"load": names}), tmp_path / "t.csv"), lineterminator="\n")["load"]
    run = int(written.str.startswith(("=", "+", "-", "@", "\t", "\r")).sum())
    attacked("loads whose names are formulas", len(names), f"{plain} run", f"{run} run")
    assert run == 0
