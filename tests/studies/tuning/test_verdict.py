"""What is dominated, recommended and said, from made-up records: every direction follows the numbers."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proofs import proof_count
from tests.studies.tuning.made import LEAKS, METHODS, key, made_up
from unlearn.errors import InputError
from unlearn.reporting.verdict import Spread
from unlearn.studies.tuning import paragraphs
from unlearn.studies.tuning.paragraphs import change, changed, counts, gains, mostly
from unlearn.studies.tuning.rows import main_rows, parameter_rows, price_rows, step_rows
from unlearn.studies.tuning.table import NAMES, TuningTable, selected
from unlearn.studies.tuning.verdict import answers, dominated, page, recommended, section, summarise

#: One setting pair and one seed: quick.
SMALL = {"sources": {"made-2005": "ieee14"}, "forecasters": ["linear"], "seeds": [0], "spread": 0.0}
LINEAR = [key(*method) for method in METHODS if method[0] != "whole_network"]
#: Every tuning is dearer than complete unlearning.
WORSE = dict.fromkeys(["scale", "affine", "quantile", "weights", "head", "chosen", "whole_network"], 1.1)
#: Every claim of the study the other way round.
TURNED = {**WORSE, "reweighted/cost": 1.05, "original": 1.2}


def operator(records: pd.DataFrame) -> str:
    return paragraphs.operator(TuningTable(records))


def researcher(records: pd.DataFrame) -> str:
    return paragraphs.researcher(TuningTable(records))


def verdict(records: pd.DataFrame) -> str:
    return paragraphs.verdict(TuningTable(records))


def answer(records: pd.DataFrame, subject: str) -> str:
    (found,) = [own.answer for own in answers(TuningTable(records)) if own.subject == subject]
    return found


def test_what_another_method_is_better_than_is_dominated() -> None:
    # By hand, from the table of made-up methods: affine and quantile cost more than one factor, with a higher MAPE.
    records = made_up(**SMALL, parts=("main", "audit"))
    assert dominated(records) == {
        "affine": ("scale",),
        "quantile": ("scale", "affine"),
        "reweighted/mse": ("reweighted/mape",),  # which was not audited either
    }
    assert recommended(records) == ("head", "chosen", "scale", "weights", "retrained")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mapes": {"affine": 11.9}}, False),  # costs more, and is nearer to the truth
        ({"ratios": {"affine": 0.79}}, False),  # the other way round
        ({"ratios": {"affine": 0.80}, "mapes": {"affine": 12.0}}, False),  # alike in everything: neither is better
        ({"ratios": {"affine": 0.80}, "mapes": {"affine": 12.01}}, True),
        ({"leaks": {**LEAKS, "scale": 0.8}}, False),  # what would be better leaks
        ({"leaks": {**LEAKS, "scale": 0.8, "affine": 0.9}}, True),  # leaks less than what leaks more
    ],
)
def test_domination_takes_cost_error_and_leak(changes: dict, expected: bool) -> None:
    assert ("scale" in dominated(made_up(**SMALL, parts=("main", "audit"), **changes)).get("affine", ())) == expected


def test_a_method_of_networks_alone_dominates_nothing_that_works_everywhere() -> None:
    cheap = {"ratios": {"whole_network": 0.5}, "mapes": {"whole_network": 5.0}, "seeds": [0]}
    both = made_up(forecasters=["linear", "cnn"], parts=("main",), **cheap)
    assert not any("whole_network" in rivals for rivals in dominated(both).values())
    networks = made_up(forecasters=["cnn"], parts=("main",), **cheap)
    assert "whole_network" in dominated(networks)["head"]
    assert recommended(networks) == ("whole_network",)


values = st.sampled_from([0.7, 0.8, 0.9, 1.0, 1.1])
errors = st.sampled_from([8.0, 9.0, 10.0])
aucs = st.sampled_from([0.5, 0.7, 0.9])


@settings(max_examples=proof_count(60))
@given(
    st.fixed_dictionaries({name: values for name in LINEAR if name != "retrained"}),
    st.fixed_dictionaries(dict.fromkeys(LINEAR, errors)),
    st.fixed_dictionaries({name: aucs for name in LINEAR if name not in ("retrained", "chosen")}),
)
def test_nothing_dominated_and_nothing_that_leaks_is_recommended(
    ratios: dict[str, float], mapes: dict[str, float], leaks: dict[str, float]
) -> None:
    # The oracle: levels as they were given, compared one by one.
    tunings = ("scale", "affine", "quantile", "weights", "head")
    leak = {name: abs(leaks.get(name, 0.5) - 0.5) for name in LINEAR}
    leak["chosen"] = max(leak[name] for name in tunings)
    records = made_up(**SMALL, parts=("main", "audit"), ratios=ratios, mapes=mapes, leaks=leaks, bit_leaks={})
    table = TuningTable(records)
    points = {name: (ratios.get(name, 1.0), mapes[name], leak[name]) for name in LINEAR}
    expected = {
        name: {
            other
            for other in LINEAR
            if all(a <= b + 1e-9 for a, b in zip(points[other], points[name], strict=True))
            and any(a < b - 1e-9 for a, b in zip(points[other], points[name], strict=True))
        }
        for name in LINEAR
    }
    assert {name: set(rivals) for name, rivals in table.dominated.items()} == {
        name: rivals for name, rivals in expected.items() if rivals
    }
    chosen = table.recommended
    assert chosen
    assert not set(chosen) & set(table.dominated)
    assert all(leak[name] == 0 and points[name][0] <= 1 for name in chosen)
    assert not any(name == "original" or name.startswith("reweighted") for name in chosen)
    assert points[chosen[0]][0] <= min(points[name][0] for name in chosen) + 0.01 + 1e-9
    for a, b in itertools.product(LINEAR, repeat=2):  # a strict order: of no two methods does each dominate the other
        assert not (table.dominates(a, b) and table.dominates(b, a))
    assert f"{table.standing[chosen[0]]}" == "recommended"


def test_the_simpler_of_two_that_are_near_is_recommended() -> None:
    near = made_up(**SMALL, parts=("main", "audit"), ratios={"scale": 0.765, "head": 0.76, "chosen": 0.8})
    assert recommended(near)[0] == "scale"
    assert "multiply all forecasts by one number chosen on the remaining rows" in operator(near)
    assert "The simplest tuning" not in operator(near)
    no_gain = made_up(**SMALL, parts=("main", "audit"), ratios=dict.fromkeys(WORSE, 0.995))
    assert recommended(no_gain)[0] == "retrained"
    assert verdict(no_gain) == "no"


def test_the_answer_for_an_operator() -> None:
    said = operator(made_up(spread=0.0))
    contents = page(made_up(spread=0.0))
    assert (contents.answer, contents.because) == ("yes", said)
    assert said.startswith("forget completely, then fit the head to the operating cost of the remaining rows")
    assert "this costs 24 % less than complete unlearning alone in the median of 18 settings." in said
    assert "TAMU, as published, costs 7.0 % less, and leaks the removed rows (AUC 0.90, 0.81 to 0.99, attack on" in said
    assert "The recommended tuning beats TAMU in all 18 settings." in said
    assert "one factor for all forecasts, costs 20 % less and beats TAMU in all 18 settings." in said
    assert "bought with accuracy: MAPE is 78 % more; Linear 78 % more, " in said
    assert "0.330 p.u. above the load in the mean, instead of at it" in said
    assert "the recommended tuning costs 0.5 % more and TAMU costs 10 % more (2 settings)" in said
    assert "Attacks find no trace of the removed rows: all of 24 intervals contain 0.5." in said


def test_the_answer_is_no_better_where_nothing_is() -> None:
    records = made_up(spread=0.0, ratios=TURNED, equal={"reweighted/cost": 0.9})
    said = operator(records)
    assert verdict(records) == "no"
    assert said.startswith("forget completely and change nothing else: no tuning that leaks nothing")
    assert "The cheapest of all, one factor, costs 10 % more than complete unlearning alone" in said
    assert "TAMU, as published, costs 5.0 % more than complete unlearning alone" in said
    assert "Complete unlearning beats TAMU in all 18 settings" in said
    assert "TAMU costs 10 % less (2 settings)" in said
    assert "bought" not in said


@pytest.mark.parametrize(
    ("subject", "turned"),
    [
        ("One factor costs less than TAMU", {"ratios": TURNED}),
        ("Quantile costs less than TAMU", {"ratios": TURNED}),
        ("TAMU costs less than complete unlearning", {"ratios": TURNED}),
        ("Forgetting helpful rows raises the cost", {"ratios": TURNED}),
        ("Head on the cost costs less than one factor", {"ratios": {"head": 0.9}}),
        ("Whole network on the cost costs less than one factor", {"ratios": {"whole_network": 0.9}}),
        ("Frank-Wolfe never ends above the single step", {"above": 0.02}),
        ("Frank-Wolfe never ends above the leaking single step", {"above": 0.02}),
        ("Tunings of a completely unlearnt model leak nothing", {"leaks": {**LEAKS, "weights": 0.8}}),
        ("TAMU, as published, leaks the removed rows", {"leaks": {}, "bit_leaks": {}}),
    ],
)
def test_answers_turn_with_the_records(subject: str, turned: dict) -> None:
    assert answer(made_up(spread=0.0, seeds=[0]), subject) == "yes"
    assert answer(made_up(spread=0.0, seeds=[0], **turned), subject) == "no"


def test_equal_prices_are_told_as_they_come_out() -> None:
    subject = "TAMU costs less than complete unlearning, with equal prices"
    assert answer(made_up(spread=0.0), subject) == "no"
    assert answer(made_up(spread=0.0, equal={"reweighted/cost": 0.9}), subject) == "yes"
    assert "TAMU then costs 10 % more)" in researcher(made_up(spread=0.0))
    assert "TAMU then costs 10 % less)" in researcher(made_up(spread=0.0, equal={"reweighted/cost": 0.9}))


def test_rounding_is_no_step_up() -> None:
    """Frank-Wolfe starts 0.01 below the single step in these records."""
    subject = "Frank-Wolfe never ends above the single step"
    assert answer(made_up(**SMALL, above=0.01 + 1e-12), subject) == "yes"
    assert answer(made_up(**SMALL, above=0.01 + 1e-6), subject) == "no"
    rows = step_rows(TuningTable(made_up(**SMALL, above=0.01 + 1e-6)))
    assert [row["above the single step"] for row in rows] == ["1 of 1"] * 3


def test_an_audit_without_power_shows_nothing() -> None:
    records = made_up(spread=0.0, leaks={}, bit_leaks={})
    assert answer(records, "Tunings of a completely unlearnt model leak nothing") == "not clear"
    assert verdict(records) == "not clear"
    assert "contain 0.5; but they find nothing in models that saw these rows either." in operator(records)


def test_last_bits_of_an_update_are_told_apart_from_leaks_of_values() -> None:
    table = TuningTable(made_up(**SMALL))
    found = {row["method"]: row for row in main_rows(table, table.standing)}
    assert found["complete unlearning"]["audit: AUC"] == "1.00 (0.91 to 1.00), bits alone"
    assert found["complete unlearning"]["stands"] == "not dominated"  # the measure of all
    assert found["TAMU"]["audit: AUC"] == "0.90 (0.81 to 0.99)"  # not the attack on bits, though that is stronger
    assert found["TAMU"]["stands"] == "leaks"
    tuned = TuningTable(made_up(**SMALL, bit_leaks={"scale": 1.0, "reweighted/cost": 1.0}))
    assert tuned.standing["scale"] == "leaks in last bits"
    assert "scale" not in tuned.recommended
    nothing = made_up(**SMALL, ratios=WORSE)
    assert "Only attackers who compare every bit tell that the removed rows were in (AUC 1.00" in operator(nothing)
    whole = made_up(**SMALL, ratios=WORSE, leaks={**LEAKS, "retrained": 0.9})
    assert recommended(whole) == ()
    assert "The audit tells that the removed rows were in (AUC 0.90" in operator(whole)


def test_models_that_saw_the_rows_dominate_none_that_did_not_where_nothing_was_audited() -> None:
    best = {"ratios": {"original": 0.5, "reweighted/mse": 0.6}, "mapes": {"original": 1.0, "reweighted/mse": 2.0}}
    table = TuningTable(made_up(**SMALL, parts=("main",), **best))
    assert not any({"original", "reweighted/mse"} & set(table.dominated.get(name, ())) for name in table.complete)
    assert table.dominated["reweighted/mape"] == ("reweighted/mse",)
    assert table.standing["original"] == "has not forgotten"


def test_what_was_not_audited_is_not_recommended_beside_what_was() -> None:
    records = made_up(spread=0.0, forecasters=["cnn"], ratios={"whole_network": 0.5}, mapes={"whole_network": 5.0})
    assert "whole_network" not in recommended(records)
    assert TuningTable(records).standing["whole_network"] == "not audited"
    unaudited = made_up(spread=0.0, parts=("main",))
    assert verdict(unaudited) == "not clear"
    assert "Whether this leaks was not audited." in operator(unaudited)
    assert "leak nothing" not in " ".join(summarise(unaudited))


def test_the_paragraph_for_researchers() -> None:
    said = researcher(made_up(spread=0.0))
    assert "forgetting helpful rows raises the cost in all 9 settings (5.3 % more)" in said
    assert "TAMU then lowers it in all 18 settings (7.0 % less)" in said
    # One factor gains 0.20, TAMU 0.07.
    assert "one factor reaches 286 % in the median, and all of it or more in all 18 settings with a gain" in said
    assert "complete unlearning +0.000 p.u., 34 %; TAMU +0.100 p.u., 24 %; one factor +0.300 p.u., 10 %" in said
    assert "the baseline of a quantile (below TAMU in all 18 settings)" in said
    assert "MAPE beside cost (TAMU's is 11 % more than after complete unlearning)" in said
    assert "TAMU: AUC 0.90, 0.81 to 0.99; tunings: AUC 0.50, 0.41 to 0.59" in said
    assert "their intervals all contain 0.5" in said
    assert "Seed by seed, one factor is below TAMU in 48 of 48 runs." in said
    turned = researcher(made_up(spread=0.0, ratios=TURNED, leaks={**LEAKS, "scale": 0.9}))
    assert "forgetting helpful rows raises the cost in none of 9 settings (17 % less)" in turned
    assert "TAMU then lowers it in none of 18 settings (5.0 % more)" in turned
    assert "TAMU gains in no setting" in turned
    assert "their intervals leave 0.5 out in 18 of 120 cases" in turned


def test_seeds_are_averaged_before_settings_are_counted() -> None:
    """Settings with several seeds count once; the cost of a setting is the mean over its seeds."""
    records = made_up(spread=0.3)
    table = TuningTable(records)
    assert len(table.cost) == 18
    own = records.query("part == 'main' and split == 'test' and metric == 'cost' and selection == 'random'")
    own = own[own["data"].eq("gefcom2012-2007") & own["forecaster"].eq("cnn")]
    mean = own.groupby("method")["value"].mean()
    ratio = table.ratio.loc["gefcom2012-2007", "ieee14", "cnn", "random", 0.25]["scale"]
    assert ratio == pytest.approx(mean["scale"] / mean["retrained"], rel=1e-12)
    wins = [row["below TAMU"] for row in main_rows(table, {}) if row["method"] == "one factor"]
    ratios = table.ratio
    assert wins == [f"{int((ratios['scale'] < ratios['reweighted/cost']).sum())} of 18"]


def test_gains_are_shares_of_what_tamu_gains() -> None:
    shares = gains(TuningTable(made_up(**SMALL, ratios={"scale": 0.9, "reweighted/cost": 0.95})))
    np.testing.assert_allclose(shares, 2.0)
    assert gains(TuningTable(made_up(**SMALL, ratios={"reweighted/cost": 1.01}))).empty


def test_the_paper_s_ratio_comes_from_the_main_part_where_the_sweep_lacks_it() -> None:
    records = made_up(**SMALL)
    swept = records[~(records["part"].eq("prices") & records["price_ratio"].eq(5.0))]
    rows = price_rows(TuningTable(swept))
    assert [row["shedding : storing"] for row in rows] == ["1", "2", "3", "5", "7", "10"]
    assert rows[3]["one factor"] == "0.80"


def test_tables_hold_what_was_chosen() -> None:
    rows = parameter_rows(TuningTable(made_up(**SMALL)))
    cells = {(row["method"], row["parameter"]): row["Linear"] for row in rows}
    assert cells["one factor", "factor k"] == "1.06"
    assert cells["head on the cost", "runs in which it is chosen on validation"] == "2 of 2"
    assert cells["one factor", "runs in which it is chosen on validation"] == "0 of 2"
    assert cells["quantile", "cost of weeks left out, after / before"] == "0.84"


def test_a_tuning_of_one_s_own_is_a_row_like_any_other() -> None:
    records = made_up(**SMALL)
    own = records[records["method"].eq("scale")].assign(method="my_tuning")
    more = pd.concat([records, own], ignore_index=True)
    assert "my tuning" in [row["method"] for row in main_rows(TuningTable(more), TuningTable(more).standing)]
    assert verdict(more) == "yes"


@pytest.mark.parametrize("part", ["other", "prices", "front", "steps", "audit"])
def test_a_run_without_a_part_says_nothing_of_it(part: str) -> None:
    records = made_up(**SMALL)
    contents = page(records[records["part"] != part])
    titles = {block.title for block in contents.blocks if block}
    gone = {"other": "Other shares and selections", "prices": "Prices", "audit": "Audit"}
    gone |= {"steps": "Frank-Wolfe against single steps"}
    assert gone.get(part) not in titles
    assert {"For researchers", "Cost by method", "Answers", "Every number"} <= titles


@pytest.mark.parametrize("without", [name for name in NAMES if name != "retrained"])
def test_any_method_but_complete_unlearning_may_lack(without: str) -> None:
    said = summarise(made_up(sources={"made": "ieee9"}, seeds=[0], without=[without]))
    # Without models that saw the rows the audit does not show that it would find anything.
    assert said[1].startswith(f"{'Not clear' if without == 'reweighted/cost' else 'Yes'}: forget completely, then")
    assert "nan" not in " ".join(said)


def test_the_short_form_has_answer_table_and_figure() -> None:
    records = made_up(**SMALL)
    first, drawn, table = section(records, "a figure", "Committed records.")
    assert first.lead.startswith("Committed records. 2 settings: 1 data set (made-2005)")
    assert first.points[0] == f"Yes: {operator(records)}"
    assert drawn.figures[0][1] == "a figure"
    assert [row["method"] for row in table.rows][:2] == ["original", "complete unlearning"]
    assert not section(records)[1]


def test_other_records_are_refused() -> None:
    records = made_up(**SMALL)
    with pytest.raises(InputError, match="run tuning first"):
        summarise(records.drop(columns="part"))
    with pytest.raises(InputError, match="cost of complete unlearning"):
        summarise(records[records["method"] != "retrained"])
    with pytest.raises(InputError, match="got cost of scale twice for seed 0"):
        summarise(pd.concat([records, records.query("method == 'scale' and metric == 'cost'")]))
    with pytest.raises(InputError, match="attack, low and high"):
        summarise(records.drop(columns="low"))


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(0.85, "15 % less"), (1.031, "3.1 % more"), (1.0004, "as much"), (0.9005, "10 % less"), (2.5, "150 % more")],
)
def test_ratios_in_words(ratio: float, said: str) -> None:
    assert change(ratio) == said
    assert changed(Spread(ratio, ratio, ratio)) == said
    assert changed(Spread(ratio, 0.5, 3.0)) == f"{said} (50 % less to 200 % more)"


def test_counts_in_words() -> None:
    assert [counts(*n) for n in ((3, 4), (4, 4), (0, 4), (2, 2), (1, 1))] == [
        "3 of 4 settings", "all 4 settings", "none of 4 settings", "both settings", "the one setting",
    ]  # fmt: skip
    assert [mostly(*n) for n in ((3, 4), (2, 4), (1, 4), (0, 0))] == ["yes", "not clear", "no", "not clear"]
    assert [selected("helpful/mse", 0.05), selected("month", 0.12)] == ["5 % helpful", "one month"]
