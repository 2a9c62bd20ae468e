"""The figure and the words of the full-network study, from made-up records whose verdict is known."""

import numpy as np
import pandas as pd
import pytest

from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.studies.full_network.report import figure
from unlearn.studies.full_network.verdict import at_chosen_condition, noise_share, page, summarise, summary

SHARES = (0.05, 0.25)


def paragraph(records: pd.DataFrame) -> str:
    return " ".join(summarise(records))


def made_up(left: float, rank: float = 0.5, absent: bool = False) -> pd.DataFrame:
    """Two seeds, two groups; Gauss-Newton leaves `left` at the chosen condition and 9 at the other."""
    table = RecordTable(experiment="full_network", forecaster="cnn", split="test")
    table.add("rows", 540)
    for method, condition in (("head", 0.0), ("gauss_newton", 1e4), ("hessian", 1e2)):
        table.add("chosen_condition", condition, method=method)
    for seed in (0, 1):
        for group, share in enumerate(SHARES):
            own = {"seed": seed, "group": group, "use": "group", "selection": "random", "proportion": share}
            for truth in ("scratch", "warm", "exact"):
                table.add("true_change", 1e-3 * (group - 0.5), truth=truth, **own)
                table.add("refit_distance", 0.1 * (group + 1), truth=truth, **own)
            for method, condition, value in (
                ("head", 0.0, 1e-12), ("gauss_newton", 1e4, left), ("gauss_newton", 1e6, 9.0), ("hessian", 1e2, 1.5)
            ):  # fmt: skip
                for predictor in ("influence", "newton"):
                    named = {"method": method, "condition": condition, "predictor": predictor, **own}
                    table.add("predicted_change", 2e-3 * (group - 0.5), **named)
                missing = absent and method == "hessian" and group == 0
                table.add("indefinite", float(missing), **named)
                for truth in ("exact",) if method == "head" else ("scratch", "warm"):
                    if not missing:
                        table.add("distance_to_refit", value, truth=truth, **named)
                    scores = {**named, "truth": truth, "over": "seed", "predictor": "influence"}
                    for use, metric in (("single", "spearman"), ("group", "spearman"), ("subset", "lds")):
                        table.add(metric, 0.99 if method == "head" else rank + 0.1 * seed, **{**scores, "use": use})
        for number in (0, 1):
            noise = {"seed": seed, "group": number, "use": "noise", "selection": "order", "truth": "scratch"}
            table.add("refit_distance", 0.05, **noise)
            table.add("true_change", 1e-4, **noise)
        table.add(
            "spearman",
            0.8,
            method="other seeds",
            predictor="refit",
            truth="scratch",
            use="group",
            seed=seed,
            over="seed",
        )
    return table.to_frame()


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (0.1, "the Newton step goes most of the way (in the median 10 % of the distance is left"),
        (0.6, "the Newton step goes part of the way (in the median 60 % of the distance is left"),
        (0.95, "the Newton step is no better than leaving the network (in the median 95 %"),
        (3.0, "the Newton step is no better than leaving the network (in the median 300 %"),
        (1e-9, "the Newton step is exact (at most 1e-09 of the distance to the refit is left)"),
    ],
)
def test_the_verdict_follows_the_records(left: float, said: str) -> None:
    text = paragraph(made_up(left))
    network = text[text.index("The whole network, Gauss-Newton") :]
    assert said in network[: network.index("against warm ones")]
    assert "The head alone: the Newton step is exact (at most 1e-12 of" in text
    assert page(made_up(left)).answer == {0.1: "yes", 1e-9: "yes", 0.6: "not clear"}.get(left, "no")


def test_the_paragraph_gives_sizes_correlations_and_the_noise_floor() -> None:
    text = paragraph(made_up(0.6, rank=0.2))
    assert "A CNN trained on 540 hours, 2 seeds, 2 groups of 5 to 25 % of the rows" in text
    assert "influence ranks single rows at 0.25 (0.20 to 0.30), groups at 0.25 (0.20 to 0.30)" in text
    assert "random halves (LDS) at 0.25" in text
    assert "damped to a condition number of 1e+04" in text
    assert "by 50 % of the distance to a refit without 5 % of the rows, and by 25 % of that without 25 %" in text
    assert "one seed's refits rank another's groups at 0.80" in text
    assert "less than all of it for 100 % of the groups" in text
    assert "At the conditions that were not chosen it leaves 900 % at 1e+06." in text


def test_steps_that_do_not_exist_are_counted() -> None:
    assert "and does not exist for 2 groups" in paragraph(made_up(0.6, absent=True))
    assert "does not exist" not in paragraph(made_up(0.6))


def test_the_table_has_every_condition_chosen_or_not() -> None:
    lines = [line for line in summary(made_up(0.6)).splitlines() if line.startswith("| Gauss-Newton")]
    assert [line.split(" | ")[1] for line in lines] == ["1e+04", "1e+04", "1e+06", "1e+06"]
    assert "| 0.6 |" in lines[0]
    assert "| 9 |" in lines[2]
    assert "0.55 ± 0.05" in lines[0]


def test_only_the_chosen_condition_is_drawn() -> None:
    records = made_up(0.6)
    assert set(at_chosen_condition(records).query("method == 'gauss_newton'")["condition"].dropna()) == {1e4}
    axes = {axis.get_label(): axis for axis in figure(records).axes}
    changes, left = axes["network"], axes["left"]
    drawn = changes.collections[0].get_offsets()
    np.testing.assert_allclose(sorted(map(tuple, drawn)), [(-0.5, -1.0)] * 2 + [(0.5, 1.0)] * 2)
    lines = {line.get_label(): line for line in left.get_lines()}
    np.testing.assert_allclose(lines["Gauss-Newton"].get_xydata(), [(5, 0.6), (25, 0.6)])
    np.testing.assert_allclose(lines["Gauss-Newton, other $\\kappa$"].get_xydata(), [(5, 9), (25, 9)])
    assert [text.get_text().strip() for text in left.texts] == ["$10^{6}$"]
    np.testing.assert_allclose(lines["head: 1e-12"].get_ydata(), 0.05)
    np.testing.assert_allclose(lines["another batch order"].get_xydata(), [(5, 0.5), (25, 0.25)])
    heights = [bar.get_height() for bar in axes["scores"].patches]
    np.testing.assert_allclose(heights[0], 0.99)
    np.testing.assert_allclose(noise_share(records), [0.5, 0.25])


def test_records_without_a_choice_say_what_to_run() -> None:
    records = made_up(0.6)
    with pytest.raises(InputError, match="run full_network first"):
        paragraph(records[records["metric"] != "chosen_condition"])
