"""k-anonymity with the least loss, against all nodes of the lattice."""

import itertools
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from unlearn.errors import InputError
from unlearn.privacy.anonymize import (
    Hierarchy,
    Intervals,
    Names,
    achieved_k,
    achieved_l,
    equivalence_classes,
    k_anonymous,
)

PLACES = Names({f"F{i}": (f"S{i // 2}", f"A{i // 4}") for i in range(8)})
CLASSES = Names.flat(["home", "shop", "farm"])
ENERGY = Intervals((500, 1000, 4000))
HIERARCHIES: dict[str, Hierarchy] = {"feeder": PLACES, "class": CLASSES, "kwh": ENERGY}


def drawn(n: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "feeder": random.choice([f"F{i}" for i in range(8)], n),
            "class": random.choice(["home", "shop", "farm"], n, p=[0.7, 0.2, 0.1]),
            "kwh": random.integers(0, 8, n) * 600.0 + 7,
            "peak": random.choice(["low", "mid", "high"], n, p=[0.6, 0.3, 0.1]),
            "note": np.arange(n),
        },
        index=[f"C{i}" for i in range(n)],
    )


def diversity_of(values: list[str], kind: str) -> float:
    share = np.array(list(Counter(values).values())) / len(values)
    return float(len(share)) if kind == "distinct" else float(np.exp(-(share * np.log(share)).sum()))


def node_loss(
    table: pd.DataFrame,
    hierarchies: Mapping[str, Hierarchy],
    levels: tuple[int, ...],
    k: int,
    least: float,
    kind: str,
    most: float,
) -> float:
    """Loss of a node by dictionaries of rows; infinite where it leaves out too many."""
    labels, costs = [], []
    for (name, own), level in zip(hierarchies.items(), levels, strict=True):
        labels.append(own.labels(name, table[name], level).tolist())
        costs.append(own.penalty(name, table[name], level))
    rows: dict[tuple[str, ...], list[int]] = {}
    for i, key in enumerate(zip(*labels, strict=True)):
        rows.setdefault(key, []).append(i)
    secret = table["peak"].tolist()
    kept = [
        own for own in rows.values() if len(own) >= k and diversity_of([secret[i] for i in own], kind) >= least - 1e-9
    ]
    n_kept = sum(map(len, kept))
    if len(table) - n_kept > most * len(table) + 1e-9:
        return np.inf
    lost = sum(float(cost[i]) for own in kept for i in own for cost in costs) / len(hierarchies)
    return (lost + len(table) - n_kept) / len(table)


@given(
    n=st.integers(4, 60),
    seed=st.integers(0, 10**6),
    k=st.integers(1, 8),
    least=st.sampled_from([1, 1.5, 2, 3]),
    kind=st.sampled_from(["distinct", "entropy"]),
    most=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_result_satisfies_k_and_l_and_no_node_loses_less(
    n: int, seed: int, k: int, least: float, kind: str, most: float
) -> None:
    assume(k <= n)
    table = drawn(n, seed)
    nodes = list(itertools.product(*(range(own.depth) for own in HIERARCHIES.values())))
    losses = {levels: node_loss(table, HIERARCHIES, levels, k, least, kind, most) for levels in nodes}
    best = min(losses.values())

    def asked():
        return k_anonymous(table, HIERARCHIES, k, "peak", least, kind, most)

    if best == np.inf:
        with pytest.raises(InputError, match="even the coarsest labels miss"):
            asked()
        return
    made = asked()
    assert made.losses.certainty == pytest.approx(best, rel=1e-9, abs=1e-12)
    assert losses[tuple(made.levels.values())] == pytest.approx(best, rel=1e-9, abs=1e-12)
    columns = list(HIERARCHIES)
    assert achieved_k(made.table, columns) >= k
    assert achieved_l(made.table, "peak", columns, kind) >= least - 1e-9
    assert len(made.suppressed) <= most * n + 1e-9
    assert made.examined <= made.nodes == len(nodes)
    assert sorted([*made.kept, *made.suppressed]) == list(range(n))
    assert made.table["peak"].tolist() == table["peak"].iloc[made.kept].tolist()


@given(st.integers(5, 60), st.integers(0, 10**6), st.integers(2, 5))
def test_losses_are_their_definitions(n: int, seed: int, k: int) -> None:
    table = drawn(n, seed)
    made = k_anonymous(table, HIERARCHIES, k, most_suppressed=0.2)
    sizes = Counter(map(tuple, made.table[list(HIERARCHIES)].to_numpy().tolist()))
    out = len(made.suppressed)
    assert made.losses.discernibility == sum(own**2 for own in sizes.values()) + n * out
    assert made.losses.class_size == pytest.approx((n - out) / len(sizes) / k)
    assert made.losses.suppressed == pytest.approx(out / n)
    assert list(made.table) == list(HIERARCHIES)  # nothing that has no hierarchy, nor names in the index
    assert made.table.index.tolist() == list(range(n - out))


@given(st.sampled_from([PLACES, CLASSES, ENERGY, Intervals((0.1, 0.3, 0.9), start=-0.2)]), st.data())
def test_levels_join_whole_labels_and_penalties_rise(own: Hierarchy, data: st.DataObject) -> None:
    some = (
        st.sampled_from(sorted(own.coarser)) if isinstance(own, Names) else st.floats(-50, 5000).map(lambda x: x / 10)
    )
    values = pd.Series(data.draw(st.lists(some, min_size=1, max_size=30)))
    before = own.penalty("x", values, 0)
    assert (before == 0).all()
    for level in range(1, own.depth):
        pairs = pd.DataFrame({"fine": own.labels("x", values, level - 1), "wide": own.labels("x", values, level)})
        assert pairs.drop_duplicates()["fine"].is_unique
        now = own.penalty("x", values, level)
        assert (now >= before - 1e-12).all()
        assert (now <= 1).all()
        before = now
    assert set(own.labels("x", values, own.depth - 1)) == {"*"}


def test_labels_of_intervals_hold_their_numbers() -> None:
    values = pd.Series([0.0, 499.9, 500.0, 7999.0, -1.0])
    assert ENERGY.labels("kwh", values, 1).tolist() == [
        "[0, 500)", "[0, 500)", "[500, 1000)", "[7500, 8000)", "[-500, 0)",
    ]  # fmt: skip
    assert ENERGY.labels("kwh", values, 0).tolist() == ["0", "499.9", "500", "7999", "-1"]


def test_coarser_labels_may_lose_entropy_so_that_finer_ones_alone_do() -> None:
    """Ten of each value, and five of one: apart, the five are left out; together, nothing is diverse enough."""
    table = pd.DataFrame({"place": ["x"] * 20 + ["y"] * 5, "class": ["u"] * 25, "peak": ["a", "b"] * 10 + ["a"] * 5})
    hierarchies = {"place": Names.flat(["x", "y"]), "class": Names.flat(["u", "v"])}
    made = k_anonymous(table, hierarchies, 2, "peak", 2, "entropy", most_suppressed=0.25)
    assert made.levels == {"place": 0, "class": 0}
    assert made.losses.certainty == pytest.approx(0.2)
    with pytest.raises(InputError, match="even the coarsest labels miss"):
        k_anonymous(table, hierarchies, 2, "peak", 2, "entropy", most_suppressed=0.1)


def test_pruning_leaves_most_nodes_unseen() -> None:
    made = k_anonymous(drawn(400, 0), HIERARCHIES, 5)
    assert made.examined < made.nodes / 2


def test_a_year_of_classes_by_hand() -> None:
    table = pd.DataFrame({"a": ["x", "x", "y"], "b": ["1", "1", "1"], "s": ["p", "q", "p"]})
    assert equivalence_classes(table, ["a", "b"])["rows"].tolist() == [1, 2]
    assert achieved_k(table) == 1
    assert achieved_k(table, ["b"]) == 3
    assert achieved_l(table, "s") == 1
    assert achieved_l(table, "s", ["b"]) == 2
    assert achieved_l(table, "s", ["b"], "entropy") == pytest.approx(np.exp(np.log(3) - 2 / 3 * np.log(2)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 0}, "k: expected a whole number"),
        ({"k": 41}, "k: expected at most the number of rows"),
        ({"l": 2}, "sensitive: expected the column that l is of"),
        ({"l": 0.5}, "l: expected at least 1"),
        ({"sensitive": "colour"}, "expected the columns colour"),
        ({"sensitive": "feeder"}, "expected a column without a hierarchy"),
        ({"diversity": "t"}, "diversity: expected one of"),
        ({"most_suppressed": 1.0}, "most_suppressed: expected a share below 1"),
        ({"hierarchies": {}}, "at least one quasi-identifier"),
        ({"hierarchies": {"feeder": CLASSES}}, "feeder: expected names of its hierarchy"),
        ({"hierarchies": {"feeder": ENERGY}}, "feeder: expected numbers"),
        ({"hierarchies": {"gap": CLASSES}}, "missing ones in gap"),
        ({"hierarchies": {"endless": ENERGY}}, "endless: expected finite numbers"),
        ({"hierarchies": {f"n{i}": ENERGY for i in range(9)}}, "at most 1,000,000 combinations"),
    ],
)
def test_refusals(change: dict, said: str) -> None:
    table = drawn(40, 0).assign(gap=None, endless=np.inf, **{f"n{i}": 1.0 for i in range(9)})
    with pytest.raises(InputError, match=said):
        k_anonymous(table, **{"hierarchies": HIERARCHIES, "k": 2, **change})


def test_refusals_of_hierarchies_and_of_tables_without_rows() -> None:
    with pytest.raises(InputError, match="each a multiple of the one before"):
        Intervals((500, 700))
    with pytest.raises(InputError, match="each a multiple of the one before"):
        Intervals((500, 500))
    with pytest.raises(InputError, match="widths: expected a number above 0"):
        Intervals((0,))
    with pytest.raises(InputError, match="as many coarser labels for each name"):
        Names({"F1": ("S1",), "F2": ()})
    with pytest.raises(InputError, match="as many coarser labels for each name"):
        Names({"F1": "S1"})
    with pytest.raises(InputError, match="names as text"):
        Names({1: ("S1",)})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="below one of level 2"):
        Names({"F1": ("S1", "A1"), "F2": ("S1", "A2")})
    with pytest.raises(InputError, match="at least one row and column"):
        achieved_k(pd.DataFrame({"a": []}))
