"""Several runs of the same experiments: bands relative to each run's own original model, claims counted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.studies.paper.test_report import BUDGETS, CARD, PUBLISHED, made_up
from unlearn.reporting.style import CRITERIA
from unlearn.studies.paper.report import figures, save
from unlearn.studies.paper.verdict import compare_gradients, count_claims, is_spread, page, summarise


@pytest.fixture
def runs() -> pd.DataFrame:
    """Two years by two seeds of the made-up records; the second year is three times as dear, its TAMU worse."""
    parts = []
    for data, scale in (("2004", 1.0), ("2005", 3.0)):
        for seed in (0, 1):
            records, _ = made_up(protocol="fair")
            measured = records["experiment"].isin(["tradeoff", "completeness"]) & records["metric"].isin(CRITERIA)
            records.loc[measured, "value"] *= scale
            own = (records["criterion"] == "cost") & (records["metric"] == "cost") & (records["l1_budget"] > 0)
            records.loc[own, "value"] *= 1.0 if data == "2004" else 1.2
            parts.append(records.assign(data=data, seed=seed))
    return pd.concat(parts, ignore_index=True)


def test_one_run_is_no_spread(runs: pd.DataFrame) -> None:
    assert is_spread(runs)
    assert not is_spread(runs[(runs["data"] == "2004") & (runs["seed"] == 0)])
    assert not is_spread(made_up()[0])


def test_curves_are_relative_to_the_original_of_their_run(runs: pd.DataFrame) -> None:
    ((name, caption, figure),) = figures(runs)
    assert name == "spread_linear_fair"
    assert "2 years and 2 seeds" in caption
    cost = figure.axes[5]
    drawn = {line.get_label(): line.get_ydata() for line in cost.get_lines()}
    one_year = 200 * (1 - 0.5 * BUDGETS)
    np.testing.assert_allclose(drawn["TAMU (Cost)"], one_year * np.array([1.0, 1.1, 1.1]))
    band = cost.collections[-1].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(max(one_year * np.array([1.0, 1.2, 1.2])))
    assert band.min() == pytest.approx(one_year.min())
    # Levels differ threefold between the years and cancel.
    np.testing.assert_allclose(drawn["PAMU (MSE)"], 200 * (1 - 0.1 * BUDGETS))


def test_claims_are_counted_over_runs(runs: pd.DataFrame) -> None:
    claims = {claim.sentence: claim for claim in count_claims(runs)}
    assert len(claims) == 6
    kept = next(claim for sentence, claim in claims.items() if "equals retraining" in sentence)
    assert kept.holds
    assert kept.figures == "in 4 of 4 runs"
    broken = next(claim for sentence, claim in claims.items() if "lowest operating cost" in sentence)
    assert not broken.holds
    assert broken.figures == "in 2 of 4 runs"


def test_the_summary_gives_median_and_range(runs: pd.DataFrame) -> None:
    (sentence,) = summarise(runs)
    assert "to 200 % in the median (200 to 200 %)" in sentence
    assert "to 198 % in the median (180 to 216 %)" in sentence
    assert "below complete unlearning in 2 of 4 runs" in sentence


def test_the_order_in_which_runs_end_changes_nothing(runs: pd.DataFrame) -> None:
    backwards = pd.concat([own for _, own in sorted(runs.groupby(["data", "seed"]), reverse=True)])
    assert summarise(backwards) == summarise(runs)
    said = [page(records, [], PUBLISHED, CARD, []) for records in (runs, backwards)]
    assert (said[0].answer, said[0].because) == (said[1].answer, said[1].because)


def test_figures_are_saved(runs: pd.DataFrame, tmp_path: Path) -> None:
    ((_, _, png),) = save(runs, tmp_path)
    assert png.is_file()
    assert png.with_suffix(".pdf").is_file()


def test_the_published_gradient_is_drawn_beside_the_exact_one_and_compared() -> None:
    records, samples = made_up()
    tamu = (records["experiment"] == "tradeoff") & (records["criterion"] == "cost") & (records["metric"] == "cost")
    other = records[tamu].assign(experiment="derivative", value=records.loc[tamu, "value"] + 50)
    difference = {"experiment": "derivative", "metric": "gradient_difference", "criterion": "cost", "value": 0.38}
    rows = [difference, {**difference, "metric": "gradient_cosine", "value": 0.95}]
    gap = pd.DataFrame(rows).assign(forecaster="linear", protocol="published")
    both = pd.concat([records, other, gap], ignore_index=True)
    named = {name: figure for name, _, figure in figures(both, samples)}
    drawn = {line.get_label(): line.get_ydata() for line in named["derivative_published"].axes[0].get_lines()}
    np.testing.assert_allclose(drawn["cvxpylayers' default"] - drawn["exact"], 50)
    (sentence,) = compare_gradients(both)
    assert "off by 38 % (cosine 0.950)" in sentence
    assert "ends at 1,850 an hour at λ₁ = 0.2; with the exact one at 1,800." in sentence
    assert compare_gradients(records) == []
