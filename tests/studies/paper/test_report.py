"""Figures and the page are drawn from records; claims and comparison say what the records say."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.records import read_json
from unlearn.reporting.style import CRITERIA
from unlearn.reporting.verdict import Block
from unlearn.studies.paper.report import figures, save, write_page
from unlearn.studies.paper.verdict import check_claims, compare, summarise

BUDGETS = np.array([0.0, 0.1, 0.2])
PUBLISHED = read_json(Path(__file__).parents[3] / "experiments" / "published.json", sealed=False)


#: What a run says of itself.
CARD: dict[str, Any] = {
    "config": {"data": {"source": "made <up>"}, "grid": {"case": "ieee14"}}
    | {"evaluation": {"hours": 12}, "paper": {"jobs": 2, "share": 0.25}},
    "config_hash": "abc",
    "source": "def",
    "seconds": 12.0,
    "stages": [{"protocol": "published", "forecaster": "linear", "stage": "train", "seconds": 1.5}],
    "written_utc": "2026-01-01",
    "python": "3.11",
    "platform": "Linux",
    "cpu_count": 2,
    "versions": {"torch": "2.13.0"},
}


def made_up(forecaster: str = "linear", protocol: str = "published") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records with round numbers: complete unlearning doubles every criterion, balancing wins half of it back."""
    same = {"forecaster": forecaster, "protocol": protocol}
    rows = []
    for metric, level in zip(CRITERIA, (0.002, 10.0, 1000.0), strict=True):
        rows.append({"experiment": "tradeoff", "method": "original", "metric": metric, "value": level, "split": "test"})
        complete = {"experiment": "tradeoff", "method": "retrained", "metric": metric, "split": "test"}
        rows.append({**complete, "value": 2 * level})
        for criterion, budget in itertools.product(CRITERIA, BUDGETS):
            gain = 0.5 if criterion == metric else 0.1
            point = {"experiment": "tradeoff", "method": "reweighted", "metric": metric, "split": "test"}
            point["proportion"] = 0.25
            rows.append(
                {**point, "criterion": criterion, "l1_budget": budget, "value": 2 * level * (1 - gain * budget)}
            )
        for split, method, share in itertools.product(
            ("remain", "unlearn", "test"), ("original", "unlearnt"), (0.1, 0.3)
        ):
            point = {"experiment": "completeness", "method": method, "metric": metric, "split": split}
            rows.append({**point, "proportion": share, "value": level * (1 + share)})
    for budget in BUDGETS:
        point = {"experiment": "tradeoff", "criterion": "cost", "metric": "distance_to_retrained_2norm"}
        rows.append({**point, "l1_budget": budget, "value": budget})
    exact = {"experiment": "completeness", "method": "unlearn_gradient", "metric": "distance_to_retrained"}
    rows.append({**exact, "proportion": 0.1, "value": 1e-13})
    for first, second in itertools.combinations(CRITERIA, 2):
        point = {"experiment": "sensitivity", "metric": f"pearson_{first}_{second}", "split": "drawn"}
        rows.append({**point, "value": 0.5})
    records = pd.DataFrame(rows).assign(**same)
    random = np.random.default_rng(0)
    samples = pd.DataFrame(random.normal(size=(40, 3)), columns=list(CRITERIA))
    samples = samples.assign(over_generated=np.arange(40) % 2 == 0, drawn=np.arange(40) < 20, **same)
    return records, samples


def test_claims_hold_where_the_records_say_so() -> None:
    claims = check_claims(made_up()[0])
    assert len(claims) == 6
    assert all(claim.holds for claim in claims)
    assert "worst 1.0e-13" in claims[0].figures


@pytest.mark.parametrize(
    ("broken", "index"),
    [("exactness", 0), ("start", 1), ("monotone", 2), ("lowest", 5)],
)
def test_a_claim_that_does_not_hold_is_reported(broken: str, index: int) -> None:
    records, _ = made_up()
    reweighted = records["method"] == "reweighted"
    last = records["l1_budget"] == BUDGETS[-1]
    here = {
        "exactness": records["metric"] == "distance_to_retrained",
        "start": reweighted & (records["l1_budget"] == 0) & (records["criterion"] == "mape"),
        "monotone": reweighted & last & (records["criterion"] == "mse") & (records["metric"] == "mse"),
        "lowest": reweighted & last & (records["criterion"] == "mape") & (records["metric"] == "cost"),
    }[broken]
    assert here.any()
    records.loc[here, "value"] = {"exactness": 1e-3, "start": 1.0, "monotone": 0.1, "lowest": 5.0}[broken]
    claims = check_claims(records)
    assert not claims[index].holds


def test_the_summary_says_what_forgetting_cost() -> None:
    (sentence,) = summarise(made_up()[0])
    assert "forgetting of 25 %" in sentence
    assert "from 1,000 to 2,000 an hour; with TAMU at λ₁ = 0.2 it is 1,800." in sentence


def test_comparison_puts_ratios_beside_the_published_ones() -> None:
    table = compare(made_up()[0], PUBLISHED, 0.25).set_index(["forecaster", "quantity"])
    row = table.loc[("linear", "cost complete / original")]
    assert row["here, published protocol"] == pytest.approx(2.0)
    assert row["published"] == pytest.approx(1151.5 / 942.0, rel=1e-3)
    assert table.loc[("linear", "Pearson mse–cost"), "published"] == pytest.approx(0.074)
    assert np.isnan(table.loc[("cnn", "cost original"), "here, published protocol"])


@pytest.mark.slow
def test_figures_for_every_forecaster_and_protocol(tmp_path: Path) -> None:
    parts = [made_up(f, p) for f in ("linear", "mixer") for p in ("published", "fair")]
    records, samples = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
    saved = save(records, tmp_path, samples)
    names = {f"fig{n}_{p}" for n in (4, 5, 6, 7, 9) for p in ("published", "fair")}
    assert {name for name, _, _ in saved} == names
    assert {path.stem for path in tmp_path.glob("*.pdf")} == names
    assert not list(tmp_path.glob(".*"))


def test_the_curves_in_a_figure_are_the_records() -> None:
    records, samples = made_up()
    drawn_figures = {name: figure for name, _, figure in figures(records, samples)}
    cost_axis = drawn_figures["fig6_published"].axes[2]
    drawn = {line.get_label(): line.get_ydata() for line in cost_axis.get_lines()}
    np.testing.assert_allclose(drawn["TAMU (Cost)"], 2000 * (1 - 0.5 * BUDGETS))
    np.testing.assert_allclose(drawn["original"], 1000)
    assert [axis.get_title() for axis in drawn_figures["fig5_published"].axes] == ["r = 0.500"] * 3


def test_missing_records_are_named() -> None:
    records, samples = made_up()
    with pytest.raises(InputError, match="completeness"):
        figures(records[records["experiment"] != "completeness"], samples)


def test_the_page_is_self_contained_and_says_what_failed(tmp_path: Path) -> None:
    records, samples = made_up()
    records.loc[records["metric"] == "distance_to_retrained", "value"] = 1.0
    saved = save(records, tmp_path / "figures", samples)
    path = write_page(records, saved, tmp_path / "index.html", PUBLISHED, CARD, ["Data: other <b>data</b>."])
    page = read_page(path)
    assert page.count("data:image/png;base64,") == 4
    assert_self_contained(page)
    assert 'bad">no</td>' in page
    assert page.index("with the largest λ₁, TAMU operates the grid at less cost") < page.index("<img")
    assert "a sample of 12 evenly spaced hours" in page
    assert "made &lt;up&gt;" in page
    assert "Data: other &lt;b&gt;data" in page
    assert "torch 2.13.0" in page
    assert "2 jobs at a time" in page
    assert re.search(r">linear</td><td[^>]*>1.5</td>", page)


def test_another_study_is_the_last_part_of_the_page(tmp_path: Path) -> None:
    records, samples = made_up()
    saved = save(records, tmp_path / "figures", samples)
    more = [Block("Another study", "It has an answer.", rows=[{"method": "a method"}])]
    path = write_page(records, saved, tmp_path / "index.html", PUBLISHED, CARD, ["Data: other."], more)
    page = read_page(path)
    places = [
        page.index(part) for part in ("Settings and versions</h2>", "Another study</h2>", "It has an", "a method")
    ]
    assert places == sorted(places)


def test_a_single_budget_makes_no_claim_about_curves() -> None:
    records, _ = made_up()
    single = records[records["l1_budget"].isna() | (records["l1_budget"] == BUDGETS[1])]
    claims = check_claims(single)
    assert [claim.sentence.split(": ")[1][:8] for claim in claims] == ["complete", "at the l"]
    row = compare(single, PUBLISHED, 0.25).set_index(["forecaster", "quantity"])
    ratio = row.loc[("linear", "cost balanced for cost, largest λ₁ / complete"), "here, published protocol"]
    assert ratio == pytest.approx(1 - 0.5 * BUDGETS[1])
