"""Attacks by use: threads and forks on one price, sizes that files claim, formulas in tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.attacks.conftest import Attacked
from tests.grid.test_threads import batches, priced, priced_in_fork, wrong_prices
from tests.test_limits import CASES
from unlearn.errors import InputError
from unlearn.grid.cost import OperatingCost
from unlearn.records import write_csv


def test_eight_threads_on_one_price(attacked: Attacked) -> None:
    before = {"ieee14": "338 wrong", "ieee30": "21 wrong"}
    for grid, found in before.items():
        cost = OperatingCost(grid)
        wrong = wrong_prices(cost, batches(cost, 200), 8)
        attacked(f"8 threads x 200 prices and gradients, {grid}", 1600, found, f"{wrong} wrong")
        assert wrong == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_of_a_price(attacked: Attacked) -> None:
    cost = OperatingCost("ieee14")
    hours = batches(cost, 5)
    expected = [float(priced(OperatingCost(cost.case), *pair)[0].sum()) for pair in hours]
    found = [float(priced_in_fork(OperatingCost(cost.case), pair)[0].sum()) for pair in hours]
    wrong = sum(abs(a - b) > 1e-6 * b for a, b in zip(found, expected, strict=True))
    attacked("forked processes that inherit a price", len(hours), "not measured", f"{wrong} wrong")
    assert wrong == 0


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
