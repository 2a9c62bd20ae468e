"""A study is shown by its name, one of somebody else's by the path of its package."""

from pathlib import Path

import pytest

from experiments.together import is_shown, shown
from tests.pages import assert_self_contained, read_page
from unlearn.errors import InputError
from unlearn.records import RecordTable

STUDIES = ("full_network", "deletion", "leakage", "fidelity", "utility", "private_training", "detection", "thresholds",
           "poisoning", "release", "customers", "dp_release", "anonymize", "federated",
           "comparison")  # fmt: skip

VERDICT = """
from unlearn.reporting.verdict import over_seeds
from unlearn.reporting.verdict import NO, YES, Block, Page


def page(records):
    found = over_seeds(records)
    told = f"the mean over {found.n} seeds is {found.text()}."
    return Page("Is it above 1?", YES if found.low > 1 else NO, told, blocks=[Block("What was found", points=[told])])


def summarise(records):
    return [page(records).said]
"""

REPORT = """
from unlearn.reporting.verdict import over_seeds
from unlearn.reporting.figure import line, panels, saver, styled
from unlearn.reporting.page import page_writer
from unlearn.reporting.style import BLUE

from outside_package.mine.verdict import page


@styled
def figure(records):
    drawn, axes = panels([["own"]], "One study more")
    line(axes["own"], {0.0: over_seeds(records)}, BLUE, "measured")
    return drawn


save = saver(figure)
write_page = page_writer(page)
"""


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_shown_by_the_same_functions(name: str) -> None:
    study = shown(name)
    assert all(map(callable, (study.report.save, study.report.write_page, study.verdict.summarise, study.verdict.page)))


def test_a_study_outside_the_package_is_shown_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "outside_package" / "mine"
    package.mkdir(parents=True)
    for name, text in (("../__init__", ""), ("__init__", ""), ("verdict", VERDICT), ("report", REPORT)):
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    records = RecordTable(experiment="outside_package.mine", data="made up")
    for seed in (0, 1):
        records.add("size", 2.0 + seed, "1", seed=seed)
    study, table = shown("outside_package.mine"), records.to_frame()
    assert study.verdict.summarise(table) == ["Yes: the mean over 2 seeds is 2.5 (2 to 3)."]
    page = read_page(study.report.write_page(table, study.report.save(table, tmp_path / "own"), tmp_path / "own.html"))
    assert_self_contained(page)
    assert page.index('<span class="good">Yes</span>') < page.index("<img")


@pytest.mark.parametrize("name", ["nothing", "no_package.no_study", "train"])
def test_what_is_no_study_is_refused(name: str) -> None:
    assert not is_shown(name)
    with pytest.raises(InputError, match=rf"study '{name}': expected a package .*report and verdict"):
        shown(name)
