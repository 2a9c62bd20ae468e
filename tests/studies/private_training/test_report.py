"""What privacy costs, drawn and told from records: what is said follows the numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.studies.private_training.report import figure, save, write_page
from unlearn.studies.private_training.table import ASPECTS, PrivateTable, Way
from unlearn.studies.private_training.verdict import (
    accounting_table,
    mechanism_table,
    page,
    summarise,
    value_table,
)

WAYS = [("start", 0.0), ("private", 1.0), ("private", 8.0), ("without noise", np.inf), ("not private", np.inf)]


def made(seeds: int = 2, private_ratio: float = 2.0, private_auc: float = 0.5, spent: float = 0.99) -> pd.DataFrame:
    """Records of a sweep: the start has a ratio of 3, real training costs 100."""
    rows = []

    def add(method: str, epsilon: float, part: str, metric: str, value: float, **columns: object) -> None:
        row = {"method": method, "epsilon": epsilon, "part": part, "metric": metric, "value": value, "seed": seed}
        rows.append({"data": "made", **row, **columns})

    for seed in range(seeds):
        for method, epsilon in WAYS:
            own = {"generator": method}
            ratio = 3.0 if method == "start" else private_ratio + 0.1 * seed
            for aspect in ASPECTS:
                add(
                    method, epsilon, "fidelity", "headline", ratio, aspect=aspect, scope="all", reference="floor", **own
                )
            add(method, epsilon, "fidelity", "auc", 0.8, **own)
            for generator, cost in ((method, 120.0), ("real", 100.0)):
                where = {"task": "load", "forecaster": "linear", "generator": generator}
                add(method, epsilon, "utility", "cost", cost, **where)
            where = {"attack": "distance", "unit_attacked": "household", "low": 0.45, "high": 0.55}
            add(method, epsilon, "attack", "auc", 0.5, **where)
            if method == "private":
                for metric, value in (("epsilon_pld", spent * epsilon), ("epsilon_prv_low", 0.98 * epsilon)):
                    add(method, epsilon, "accounting", metric, value)
                for metric, value in (("epsilon_prv_high", epsilon), ("epsilon_rdp", 1.2 * epsilon)):
                    add(method, epsilon, "accounting", metric, value)
                add(method, epsilon, "accounting", "delta", 8e-4)
                add(method, epsilon, "accounting", "n_units", 125)
                for metric in ("noise_multiplier", "sampling_rate", "steps", "clip", "epsilon_alone"):
                    add(method, epsilon, "accounting", metric, 1.0, mechanism_of="network")
    seed = 0
    for method, epsilon, auc in (("not private", np.inf, 0.98), ("private", 1.0, private_auc)):
        where = {"attack": "distance", "against": "unseen", "low": auc - 0.05, "high": auc + 0.02, "n": 40}
        add(method, epsilon, "outliers", "auc", auc, **where)
    return pd.DataFrame(rows)


def test_ways_are_ordered_from_no_household_to_no_privacy() -> None:
    table = PrivateTable(made())
    assert [tuple(way) for way in table.ways] == WAYS
    assert table.tasks == ["load"]
    found = table.headline(Way("private", 8.0))
    assert found is not None
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((2.05, 2.0, 2.1, 2))


def test_learning_that_was_worth_it_is_told_from_learning_that_was_not() -> None:
    better = " ".join(summarise(made(private_ratio=2.0)))
    assert "At ε = 1, distances to real households are 2.05 (2 to 2.1) times the floor" in better
    assert "better than those of the start" in better
    worse = " ".join(summarise(made(private_ratio=3.5)))
    assert "no better than those of the start" in worse
    unclear = " ".join(summarise(made(private_ratio=2.92)))
    assert "not clearly better than those of the start" in unclear
    assert "1.20 times real households" in better


def test_money_in_thousands_is_written_out() -> None:
    records = made()
    records.loc[records["metric"].eq("cost"), "value"] *= 12.5
    assert "after training on real households 1,250" in " ".join(summarise(records))
    assert {row[name] for row in value_table(records) for name in row if name.startswith("load")} == {"1,500"}


@pytest.mark.parametrize(("auc", "said"), [(0.5, "it no longer does (AUC 0.50"), (0.9, "it still does (AUC 0.90")])
def test_outliers_are_told_as_they_were_found(auc: float, said: str) -> None:
    sentences = " ".join(summarise(made(private_auc=auc)))
    assert "tells 40 that were overfit" in sentences
    assert said in sentences


def test_a_promise_that_is_not_kept_is_told() -> None:
    assert summarise(made())[0].startswith("Every promise is kept")
    assert summarise(made(spent=1.01))[0].startswith("NOT every promise is kept")


def test_tables_have_a_row_for_each_way() -> None:
    records = made()
    assert [row["ε asked for"] for row in accounting_table(records)] == ["1", "8"]
    assert accounting_table(records)[1]["ε by RDP"] == "9.6000"
    assert [row["part"] for row in mechanism_table(records)] == ["network", "network"]
    assert [row["trained"] for row in value_table(records)][1:3] == ["ε = 1", "ε = 8"]


def test_figure_and_page_are_written_and_need_nothing_else(tmp_path: Path) -> None:
    axes = {axis.get_label(): axis for axis in figure(made(seeds=1)).axes}
    assert list(axes) == ["fidelity", "classifier", "load", "attacks", "outliers"]
    assert axes["attacks"].get_xlabel() == "ε"
    private, alone = axes["classifier"].containers
    assert [list(own[0].get_xdata()) for own in (private, alone)] == [[1, 2], [0, 3, 4]]
    written = read_page(write_page(made(), save(made(), tmp_path / "figure"), tmp_path / "index.html"))
    assert_self_contained(written)
    assert "0.0008" in written
    # Fidelity is better than that of the start at both ε; costs of forecasts are the same.
    assert page(made()).answer == "not clear"
    assert "in 2 of 4 comparisons" in page(made()).because


def test_other_records_are_refused() -> None:
    with pytest.raises(InputError, match="columns part and method"):
        PrivateTable(pd.DataFrame({"metric": ["auc"], "value": [0.5]}))
