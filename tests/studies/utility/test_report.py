"""The figure, the sentences and the page of utility, from records whose verdict is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.reporting.verdict import Spread
from unlearn.studies._shared.bus_loads import NOTHING, PERFECT, WEEK_BEFORE
from unlearn.studies._shared.options import TASKS
from unlearn.studies._shared.study import METRICS
from unlearn.studies._shared.utility import REAL, REDRAWN
from unlearn.studies.utility.measure import UtilityTable
from unlearn.studies.utility.report import colours_of, figure, save, write_page
from unlearn.studies.utility.verdict import page, summarise, utility_table, verdicts

#: Real costs of three seeds that differ more between seeds than training sets do.
REAL_COST = (700.0, 500.0, 900.0)


def made_up(
    mine: tuple[float, ...] = (1.1, 1.12, 1.2),
    redrawn: tuple[float, ...] = (1.1, 1.15, 1.2),
    week: float = 1.4,
    season: float = 0.4,
    tasks: tuple[str, ...] = TASKS,
    releases: tuple[str, ...] = ("mine",),
) -> pd.DataFrame:
    """Costs as multiples of real training, one seed each; a CNN that is dearer throughout."""
    table = RecordTable(experiment="utility", data="made up", grid="ieee9")
    for seed, (times, order) in enumerate(zip(mine, redrawn, strict=False)):
        if "season" in tasks:
            for name, score in {REAL: 0.5, **dict.fromkeys(releases, season)}.items():
                own = {"task": "season", "generator": name, "forecaster": "boosting", "seed": seed}
                table.add("balanced_accuracy", score, "share", **own)
                table.add("macro_f1", score - 0.05, "share", **own)
        if "next_step" in tasks:
            for name, kind, error in (
                (REAL, "ridge", 0.2),
                (NOTHING, "persistence", 0.25),
                *((release, "ridge", 0.2 * times) for release in releases),
            ):
                for metric, factor in (("mae", 0.5), ("rmse", 1.0)):
                    own = {"task": "next_step", "generator": name, "forecaster": kind, "seed": seed}
                    table.add(metric, factor * error, "kWh", **own)
        if "load" in tasks:
            factors = {REAL: 1.0, REDRAWN: order, **dict.fromkeys(releases, times)}
            costs = {(name, "linear"): factor * REAL_COST[seed] for name, factor in factors.items()}
            costs |= {(name, "cnn"): 1000.0 + REAL_COST[seed] for name in factors}
            costs |= {(NOTHING, WEEK_BEFORE): week * REAL_COST[seed], (NOTHING, PERFECT): 100.0}
            for (name, kind), cost in costs.items():
                for metric, unit in METRICS.items():
                    value = {"cost": cost, "mape": cost / 50, "clipped": 0.0}.get(metric, 1.0)
                    if kind == PERFECT and unit in ("pu2", "percent"):
                        value = 0.0
                    table.add(metric, value, unit, task="load", generator=name, forecaster=kind, seed=seed)
    return table.to_frame()


def said(records: pd.DataFrame, start: str) -> str:
    (sentence,) = [text for text in summarise(records) if text.startswith(start)]
    return sentence


def answer(records: pd.DataFrame) -> str:
    (verdict,) = verdicts(UtilityTable(records))
    return verdict.answer


def test_ratios_are_of_the_same_seed() -> None:
    records = made_up()
    table = UtilityTable(records)
    found = table.ratio("load", "cost", ("mine", "linear"), (REAL, "linear"))
    assert found is not None
    # Between seeds costs differ by 80 %, ratios by 9 %: a ratio of means would hide that.
    np.testing.assert_allclose((found.mean, found.low, found.high), (3.42 / 3, 1.1, 1.2))
    cost = table.value("load", "cost", ("mine", "linear"))
    assert cost is not None
    plain = np.array([770.0, 560.0, 1080.0])
    np.testing.assert_allclose((cost.mean, cost.sd), (plain.mean(), plain.std(ddof=1)))
    fewer = UtilityTable(records[(records["generator"] != REAL) | (records["seed"] == 2)])
    only = fewer.ratio("load", "cost", ("mine", "linear"), (REAL, "linear"))
    assert only is not None
    assert (only.mean, only.n) == (pytest.approx(1.2), 1)
    assert table.ratio("load", "cost", ("other", "linear"), (REAL, "linear")) is None


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=5), st.floats(0.1, 10))
def test_a_spread_leaves_out_what_lies_beyond_all_of_several_seeds(values: list[float], level: float) -> None:
    found = Spread.of(np.array(values))
    same_side = all(value > level for value in values) or all(value < level for value in values)
    assert found.leaves_out(level) == (same_side and len(values) > 1)


def test_sentences_say_how_many_times_real_training_and_what_is_lost() -> None:
    cost = said(made_up(), "Bus loads: Linear trained on mine")
    assert (
        "costs 803 money/h in real test weeks, 1.14 times what training on real households costs (1.10 to 1.20)" in cost
    )
    assert "0.99 times real redrawn (0.97 to 1.00), no difference beyond the spread over seeds" in cost
    assert "so what is lost is the days' order, not the profiles" in cost
    assert "better than the load of a week before: 0.81 times its cost (0.79 to 0.86)" in cost
    assert "MAPE 16.1 % (11.2 to 21.6)" in cost
    season = said(made_up(), "Season")
    assert "a balanced accuracy of 0.4, 0.80 times that of real training" in season
    assert "chance gives 0.25" in season
    step = said(made_up(), "Next step, trained on mine")
    assert "Ridge errs by 0.228 kWh (RMSE): 1.14 times real training (1.10 to 1.20); 0.91 times persistence" in step
    assert "the load of a week before costs 980 money/h" in said(made_up(), "Bus loads without training")


def test_what_is_lost_follows_the_numbers() -> None:
    def loss(mine: tuple[float, ...], redrawn: tuple[float, ...]) -> str:
        return said(made_up(mine, redrawn), "Bus loads: Linear trained on mine").split(". ")[0]

    assert "so what is lost is in the profiles" in loss((1.1, 1.2, 1.3), (1.0, 0.99, 1.01))
    assert "both are lost: the days' order (1.10 times) and something in the profiles" in loss(
        (1.2, 1.3, 1.3), (1.1,) * 3
    )
    assert "the seeds do not tell whether" in loss((1.02, 1.02, 1.02), (1.03, 0.99, 1.01))
    nothing = loss((0.98, 1.0, 1.02), (1.1,) * 3)
    assert (
        "1.00 times what training on real households costs (0.98 to 1.02), no difference beyond the spread" in nothing
    )
    assert "lost" not in nothing


def test_the_answer_can_be_yes_no_and_neither() -> None:
    assert answer(made_up((1.0, 1.01, 1.04))) == "yes"
    assert answer(made_up((1.06, 1.07, 1.2))) == "no"
    assert answer(made_up((1.0, 1.01, 1.06))) == "not clear"
    assert answer(made_up((1.0, 1.01, 1.04), week=1.0)) == "no"
    assert answer(made_up((1.0, 1.01, 1.04), week=1.02)) == "not clear"
    no = said(made_up((1.5, 1.6, 1.7)), "mine: Is it good")
    assert "good enough to run a grid on? No. Linear, the forecaster that is cheapest after real training" in no
    assert "no better than the load of a week before: 1.14 times its cost (1.07 to 1.21)" in no
    alone = made_up().query("generator != 'real'")
    assert answer(alone) == "not clear"
    assert "no forecaster was trained on real households" in said(alone, "mine: Is it").lower()


def test_one_seed_says_that_it_is_one() -> None:
    records = made_up((1.02,))
    assert "One seed, so what chance adds is not known" in summarise(records)[0]
    verdict = said(records, "mine: Is it")
    assert "Yes. Linear" in verdict
    assert "One seed only." in verdict
    cost = said(records, "Bus loads: Linear trained on mine")
    assert "1.02 times what training on real households costs; 0.93 times real redrawn." in cost
    assert "25 % of cases" in summarise(made_up())[0]


def test_a_season_that_is_guessed_is_called_so() -> None:
    assert "no better than chance, 0.25" in said(made_up(season=0.24), "Season")


def test_the_table_holds_every_number() -> None:
    records = made_up()
    rows = [*utility_table(records), *utility_table(records, main=False)]
    assert len(rows) == len(records) / 3
    (row,) = [r for r in rows if list(r.values())[:4] == ["bus loads", "cost [money/h]", "Linear", "mine"]]
    assert row["mean"] == "803.3"
    assert row["sd"] == "261.6"
    assert row["seeds"] == "3"
    assert row["ratio to real"] == "1.14 (1.1 to 1.2)"
    assert row["ratio to real redrawn"] == "0.991 (0.974 to 1)"
    (row,) = [
        r for r in rows if r["trained on"] == "mine" and r["metric"].startswith("clipped") and r["forecaster"] == "CNN"
    ]
    assert row["ratio to real"] == "–"  # 0 / 0
    one = utility_table(made_up((1.0,)))
    assert {row["sd"] for row in one} == {"–"}


def test_the_figure_draws_the_records() -> None:
    drawn = figure(made_up())
    axes = {axis.get_label(): axis for axis in drawn.axes}
    assert list(axes) == ["season balanced_accuracy", "next_step rmse", "next_step mae", "load mape", "load cost"]
    bars = axes["load cost"].patches
    assert all(bar.get_y() == 100 for bar in bars)  # the perfect forecast
    tops = [bar.get_y() + bar.get_height() for bar in bars]
    # Linear and CNN, of each training set.
    np.testing.assert_allclose(tops, [700, 1700, 2425 / 3, 1700, 2410 / 3, 1700])
    assert [text.get_text() for text in axes["load cost"].texts][::2] == ["700", "808", "803"]
    legend = axes["load cost"].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["load of a week before, 980", "perfect forecast, 100"]
    season = axes["season balanced_accuracy"]
    np.testing.assert_allclose([bar.get_height() for bar in season.patches], [0.25, 0.15])  # above chance
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [REAL, REDRAWN, "mine"]
    # Real and redrawn keep their looks whatever else is there.
    assert colours_of([REAL, REDRAWN, "a"])["a"] == colours_of(["a", "b"])["a"]


@pytest.mark.parametrize("tasks", [("season",), ("load",), ("season", "load"), ("next_step",)])
def test_missing_tasks_are_left_out(tasks: tuple[str, ...], tmp_path: Path) -> None:
    records = made_up(tasks=tasks)
    labels = [axis.get_label().split()[0] for axis in figure(records).axes]
    assert set(labels) == set(tasks)
    written = read_page(write_page(records, save(records, tmp_path / "u"), tmp_path / "u.html"))
    assert page(records).answer == ("no" if "load" in tasks else "not clear")
    assert ("Persistence repeats" in written) == ("next_step" in tasks)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("releases", [(), ("mine",), ("mine", "a < b")])
def test_the_page_holds_everything(seeds: int, releases: tuple[str, ...], tmp_path: Path) -> None:
    records = made_up((1.1, 1.12, 1.2)[:seeds], releases=releases)
    written = read_page(write_page(records, save(records, tmp_path / "utility"), tmp_path / "utility.html"))
    assert_self_contained(written)
    assert "made up on ieee9" in written
    for sentence in summarise(records):
        if "Is it good" not in sentence:
            assert sentence.replace("'", "&#39;").replace("<", "&lt;") in written
    assert written.count('bad">no</td>') == len(releases)
    assert written.count("<tr>") == 2 + len(records) / seeds + (len(releases) + 1 if releases else 0)


def test_only_a_generator_without_real_training_is_shown_without_ratios(tmp_path: Path) -> None:
    records = made_up().query("generator == 'mine'")
    written = read_page(write_page(records, save(records, tmp_path / "u"), tmp_path / "u.html"))
    assert "times what training on real" not in written
    assert page(records).answer == "not clear"


def test_bad_records_are_refused() -> None:
    other = RecordTable()
    other.add("mse", 1.0)
    with pytest.raises(InputError, match="run measure_utility first"):
        summarise(other.to_frame())
    twice = pd.concat([made_up(), made_up((1.0,))])
    with pytest.raises(InputError, match="each number once for every seed, got season of real of boosting of balanced"):
        figure(twice)
