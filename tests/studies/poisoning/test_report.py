"""Damage, recovery, verdicts, figure and page of poisoned training data, from records that are written by hand."""

from pathlib import Path

import pandas as pd
import pytest

from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.studies.poisoning.report import figure, save, write_page
from unlearn.studies.poisoning.table import COMPLETE, Attack, Mitigation, PoisoningTable
from unlearn.studies.poisoning.verdict import HARMLESS, cost_table, detection_table, page, summarise, verdicts

DOWN, UP = Attack("scaling", -0.5), Attack("scaling", 0.5)
TAMU = Mitigation("reweighted", "cost", 0.1)


def swept(
    recovered: float = 0.8, seeds: tuple[int, ...] = (0, 1, 2), slow: bool = False, forecaster: str = "linear"
) -> pd.DataFrame:
    """A sweep in which lowering loads costs 1000 share + seed more than 900, and lifting them 500 share less."""
    table = RecordTable(experiment="poisoning", data="synthetic", grid="ieee14", forecaster=forecaster, protocol="fair")

    def criteria(cost: float, **columns: object) -> None:
        for metric, value in (("cost", cost), ("mse", cost / 1e6), ("mape", cost / 100)):
            table.add(metric, value, split="test", **columns)

    for attack in (DOWN, UP):
        for share in (0.05, 0.1, 0.3):
            for seed in seeds:
                cell = {"kind": attack.kind, "strength": attack.strength, "share": share, "seed": seed}
                damage = 1000 * share + seed if attack == DOWN else -500 * share
                criteria(900, method="clean", **cell)
                criteria(900 + damage, method="poisoned", **cell)
                criteria(850, method="reweighted", criterion="cost", l1_budget=0.1, detector="clean", **cell)
                found = {"truth": 1.0, "residual": recovered, "median": 0.1, "none": 0.0}
                found |= {"gan": 0.3} if slow and share == 0.1 else {}
                for detector, saved in found.items():
                    own = {**cell, "detector": detector}
                    for metric in ("flagged", "precision", "recall", "f1", "false_alarms", "roc_auc"):
                        table.add(metric, 0.5, split="train", method="detection", **own)
                    wiggle = 0.02 * (seed - 1)
                    criteria(900 + damage * (1 - saved - wiggle), method="unlearnt", **own)
                    reweighted = {"method": "reweighted", "criterion": "cost", "l1_budget": 0.1}
                    criteria(880 + damage * (1 - saved), **reweighted, **own)
                    table.add("weights_differ", 0.12, split="train", **reweighted, **own)
    return table.to_frame()


def test_recovered_is_the_saved_share_of_the_damage() -> None:
    table = PoisoningTable(swept())
    assert table.attacks == [DOWN, UP]
    assert table.share == 0.1
    assert table.damage(DOWN, 0.1).to_list() == pytest.approx([100, 101, 102])
    found = table.recovered(DOWN, 0.1, "residual")
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.8, 0.78, 0.82))
    reweighted = table.recovered(DOWN, 0.1, "truth", TAMU)
    assert reweighted is not None
    assert reweighted.mean == pytest.approx((120 / 100 + 121 / 101 + 122 / 102) / 3)


def test_a_poison_that_makes_operation_cheaper_has_no_damage_to_recover() -> None:
    table = PoisoningTable(swept())
    assert [table.direction(attack, 0.1) for attack in (DOWN, UP)] == [1, -1]
    assert table.direction(UP, 0.05) == -1
    assert table.recovered(UP, 0.1, "truth") is None
    said = summarise(swept())
    (found,) = (s for s in said if s.startswith("Scaling by +50 %: "))
    assert "makes operation cheaper, because forecasts are lifted" in found
    lowered = swept().assign(strength=-swept()["strength"])
    (found,) = (s for s in summarise(lowered) if s.startswith("Scaling by −50 %: "))
    assert "makes operation cheaper." in found
    assert "lifted" not in found


def test_a_change_that_is_small_or_not_of_one_sign_is_none() -> None:
    records = swept()
    poisoned = (records["method"] == "poisoned") & (records["metric"] == "cost") & (records["strength"] == -0.5)
    small = records.assign(value=records["value"].where(~poisoned, 910.0))
    assert PoisoningTable(small).direction(DOWN, 0.1) == 0
    mixed = records.assign(value=records["value"].where(~(poisoned & (records["seed"] == 0)), 890.0))
    assert PoisoningTable(mixed).direction(DOWN, 0.1) == 0
    assert any("no clear damage" in sentence for sentence in summarise(mixed))


@pytest.mark.parametrize(("recovered", "answer"), [(0.8, "yes"), (0.51, "not clear"), (0.3, "no"), (-0.4, "no")])
def test_a_verdict_asks_for_half_of_the_damage_in_every_seed(recovered: float, answer: str) -> None:
    found = {own.subject: own.answer for own in verdicts(PoisoningTable(swept(recovered)))}
    assert found["scaling by −50 %, forecast residual"] == answer
    assert found["scaling by −50 %, seasonal median"] == "no"
    assert found["scaling by +50 %"] == HARMLESS
    assert "scaling by −50 %, the truth" not in found


def test_sentences_name_what_was_found_and_what_reweighting_does_to_clean_data() -> None:
    said = summarise(swept())
    assert said[0].startswith("Linear forecaster on synthetic: 5, 10, 30 % of the hours")
    assert "80 % (78 to 82) by forecast residual (precision 0.50, recall 0.50)" in said[1]
    assert "the clean model, treated likewise, goes from 900 to 850" in said[-1]
    assert "12.0 % of the weights depend on the flagged rows" in said[-1]


def test_a_slow_detector_may_be_asked_at_one_share_only() -> None:
    table = PoisoningTable(swept(slow=True))
    assert table.detectors == ["truth", "residual", "median", "gan", "none"]
    assert table.asked(DOWN, "gan") == [0.1]
    assert {row["share"] for row in detection_table(table) if row["detector"] == "GAN-LSTM"} == {"10 %"}
    rows = [row for row in cost_table(table) if row["poison"] == "scaling by −50 %"]
    # Clean and poisoned; three detectors with two mitigations, and "none" with one; the slow one at one share.
    assert len(rows) == 3 * (2 + 3 * 2 + 1) + 2


def test_the_figure_draws_the_records() -> None:
    drawn = figure(swept(slow=True))
    axes = {axis.get_label(): axis for axis in drawn.axes}
    assert list(axes)[:2] == ["detectors scaling by −50 %", "detectors scaling by +50 %"]
    lines = {line.get_label(): line for line in axes["detectors scaling by −50 %"].get_lines()}
    assert list(lines["clean"].get_ydata()) == [900, 900, 900]
    assert lines["poisoned"].get_ydata() == pytest.approx([951, 1001, 1201])
    assert list(lines["GAN-LSTM"].get_xdata()) == [10]
    bars = {own.get_label(): own for own in axes["recovered scaling by −50 %"].containers}
    assert [bar.get_height() for bar in bars["complete unlearning"]] == pytest.approx([100, 80, 10, 30, 0], abs=1e-6)
    assert "nothing to recover" in axes["recovered scaling by +50 %"].texts[0].get_text()


def test_the_page_opens_with_the_answer(tmp_path: Path) -> None:
    records = swept(slow=True)
    assert page(records).answer == "not clear"  # one of three detectors
    written = read_page(write_page(records, save(records, tmp_path / "poisoning"), tmp_path / "index.html"))
    assert_self_contained(written)
    assert written.index(page(records).because) < written.index("<img")
    about = [" ".join(page(swept(forecaster=kind)).measured) for kind in ("linear", "cnn")]
    assert ["core hours" in text for text in about] == [False, True]


def test_one_seed_has_no_range() -> None:
    records = swept(seeds=(0,))
    assert "78 % by forecast residual" in summarise(records)[1]
    assert PoisoningTable(records).recovered(DOWN, 0.1, "truth", COMPLETE) is not None
    title = figure(records[records["strength"] < 0]).get_suptitle()
    assert title.endswith("over 1 seed)")


def test_records_of_something_else_or_with_holes_are_refused() -> None:
    with pytest.raises(InputError, match="expected records of poisoning"):
        PoisoningTable(swept().assign(experiment="tradeoff"))
    with pytest.raises(InputError, match="one forecaster and data set, got 2"):
        PoisoningTable(pd.concat([swept(), swept(forecaster="cnn")]))
    records = swept()
    hole = records.drop(records.index[(records["method"] == "poisoned") & (records["seed"] == 1)])
    with pytest.raises(InputError, match=r"each number once for every seed, got seeds \[0, 2\] of \[0, 1, 2\]"):
        summarise(hole)
