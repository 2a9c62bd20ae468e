"""The page of a certificate: the answer first, in plain words, and nothing that a name could smuggle in."""

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.bodies import body, model
from unlearn.services.certificates.page import page
from unlearn.services.certificates.words import change, four

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=y>$answer ${blocks} {0} \u202eNOT\u0000"


def show(**other: Any) -> str:
    return page(
        {**body(**other), "ledger": {"seq": 4, "digest": "9" * 64}, "key": {"fingerprint": "3f2a", "public": "7" * 64}}
    )


class Reader(HTMLParser):
    """Tags, their attributes, and the text of a page; refuses tags that are not closed in order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._open = "", list[str]()
        self.feed(content)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag == "br" else ""
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.text += " " if tag in ("td", "th", "small") else ""

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "title"):
            self.text += data


def text(**other: Any) -> str:
    return " ".join(Reader(show(**other)).text.split())


def request(**other: Any) -> dict[str, Any]:
    return {**body()["request"], **other}


LEFT = model("generator", complete=False, limitations=["the extractor is frozen"], guarantee="empirical")
ANSWERS = {
    "one customer": ({}, "Customer 3f2a… is forgotten in the one model concerned: exact."),
    "many": (
        {"request": request(removed=["a" * 64, "b" * 64], n_customers=2), "models": [model(), model("b"), model("c")]},
        "2 customers are forgotten in all 3 models: exact.",
    ),
    "mixed": (
        {"models": [model(), model("b"), model("c", guarantee="empirical")], "guarantee": "empirical"},
        "is forgotten in all 3 models: exact in 2, shown by measurement alone in 1.",
    ),
    "not complete": (
        {"models": [model(), LEFT], "guarantee": "empirical", "complete": False},
        "NOT complete: customer 3f2a… is still in 1 of 2 models.",
    ),
    "some hours": ({"request": request(n_hours=48)}, "Readings of customer 3f2a… in 48 hours are forgotten"),
    "load": ({"request": request(subject="loads", loads=["north"])}, "Load north is forgotten"),
    "loads": ({"request": request(subject="loads", loads=["a", "b"])}, "2 loads are forgotten"),
    "hours": ({"request": request(subject="hours", n_hours=1)}, "1 hour is forgotten"),
    "hours of a load": (
        {"request": request(subject="hours", n_hours=1200, loads=["a"])}, "1,200 hours of load a are forgotten",
    ),
    "no model": ({"models": []}, "Customer 3f2a… is in no model of this registry."),
}  # fmt: skip


@pytest.mark.parametrize(("other", "said"), ANSWERS.values(), ids=ANSWERS)
def test_the_answer_comes_first(other: dict[str, Any], said: str) -> None:
    heading = re.search("<h1[^>]*>(.*?)</h1>", show(**other))
    assert heading
    assert said in Reader(heading[1]).text or said in html.unescape(re.sub("<[^>]*>", "", heading[1]))


def test_what_an_officer_asks_is_answered() -> None:
    shown = text()
    for said in (
        "Asked on 2030-01-01 02:00 UTC, done on 2030-01-01 03:00 UTC. The customer leaves",
        "head yes fitted anew without it. Solved from the sums.",
        "load scale yes kept. The largest load, fixed.",
        "calendar no as it was.",
        "before 0.001235 5.432 123,500",
        "after 0.0013 5.5 125,000 +1.2 %",
        "before AUC 0.81 (0.75 to 0.87); after AUC 0.50 (0.43 to 0.57): it cannot be told.",
        "Copies of the meter file elsewhere.",
        "kept, encrypted, for 30 days",
        "destroyed after 2030-01-31 03:00 UTC",
        "None was destroyed when this was written.",
        "unlearn verify FOLDER --public-key FILE",
        "This page alone proves nothing.",
    ):
        assert said in shown, said


def test_a_model_that_is_not_complete_says_why_and_promises_nothing() -> None:
    shown = text(models=[model(), LEFT], guarantee="empirical", complete=False)
    assert shown.index("generator: The extractor is frozen.") < shown.index("What was done to each model")
    assert "Guarantee: none for the whole model" in shown
    assert 'class="answer bad"' in show(models=[LEFT], guarantee="empirical", complete=False)
    assert 'class="answer good"' in show()


AUDITS = {
    "told": ({"audit_auc_after": 0.8, "audit_auc_after_low": 0.7, "audit_auc_after_high": 0.9}, "it can still be told"),
    "reversed": ({"audit_auc_after": 0.2, "audit_auc_after_low": 0.1, "audit_auc_after_high": 0.3}, "a reversed guess"),
    "no range": ({"audit_auc_after": 0.5}, "after AUC 0.50."),
    "before alone": ({"audit_auc_before": 0.6}, "before AUC 0.60; not measured after."),
    "none": ({"audit_auc_after": None}, "day-ahead: not measured."),
}


@pytest.mark.parametrize(("numbers", "said"), AUDITS.values(), ids=AUDITS)
def test_an_audit_in_words(numbers: dict[str, float | None], said: str) -> None:
    assert said in text(models=[model(numbers=numbers)])


@pytest.mark.parametrize("place", ["id", "loads", "case", "replacement", "hours"])
def test_a_request_with_a_hostile_name_shows_it_as_text(place: str) -> None:
    hostile: Any = {"loads": [HOSTILE], "hours": [[HOSTILE, HOSTILE]]}.get(place, HOSTILE)
    assert_harmless(show(request=request(subject="hours", n_hours=1, **{place: hostile})))


@pytest.mark.parametrize("place", ["name", "kind", "method", "why", "version_after"])
def test_a_model_with_a_hostile_name_shows_it_as_text(place: str) -> None:
    assert_harmless(show(models=[model(**{place: HOSTILE})]))


def test_hostile_names_elsewhere_are_text() -> None:
    effect = {"method": HOSTILE, "split": HOSTILE, "mse_pu2": None, "mape_percent": None, "cost_per_hour": None}
    constant = {"name": HOSTILE, "saw": True, "refitted": False, "note": HOSTILE}
    assert_harmless(
        show(
            models=[model(effect=[effect], constants=[constant], numbers={HOSTILE: 1.0}, limitations=[HOSTILE])],
            registry={"id": HOSTILE, "name": HOSTILE}, versions={HOSTILE: HOSTILE}, not_covered=[HOSTILE],
            request=request(removed=[HOSTILE]),
                data=[{**body()["data"][0], "name": HOSTILE, "fingerprint_after": HOSTILE}],
            destroyed=[{"artefact": HOSTILE, "version": HOSTILE, "at_utc": "2030-01-01T00:00:00+00:00"}],
        )
    )  # fmt: skip


def assert_harmless(shown: str) -> None:
    tags = Reader(shown).tags
    assert not {"script", "img", "a", "link", "iframe", "form"} & {tag for tag, _ in tags}
    names = {name for _, attributes in tags for name in attributes}
    assert names <= {"class", "lang", "charset", "name", "content", "http-equiv", "scope"}
    assert not {"\u202e", "\u0000"} & set(shown)
    assert len(re.findall("<h1", shown)) == 1  # a name is no part of the template either


def test_it_asks_for_nothing_from_elsewhere() -> None:
    shown = show()
    assert "default-src 'none'" in shown
    assert not re.search(r"https?:|//|@import|url\(|src=|href=", shown.split("</title>")[1])


def test_a_name_without_end_is_cut() -> None:
    assert len(show(models=[model("a" * 100_000)])) < 60_000


def test_no_number_has_more_than_four_significant_digits() -> None:
    shown = Reader(show()).text.split("Identifiers")[0]
    for number in re.findall(r"(?<![\w:.-])\d[\d,]*(?:\.\d+)?(?![\w:-])", shown):
        assert len(number.replace(",", "").replace(".", "").strip("0")) <= 4, number


@given(st.floats(-1e308, 1e308))
def test_a_number_is_shown_to_four_digits(value: float) -> None:
    shown = four(value)
    digits, _, power = shown.replace("−", "-").replace(",", "").removesuffix("</sup>").partition(" × 10<sup>")
    read = float(f"{digits}e{power or 0}")
    assert read == pytest.approx(value, rel=5.1e-4, abs=5e-324)
    assert len(re.sub(r"[-.]", "", digits).strip("0")) <= 4


def test_a_change_is_shown_with_its_sign() -> None:
    assert change(100.0, 101.23) == "+1.2 %"
    assert change(100.0, 50.0) == "−50 %"
    assert change(100.0, 100.0) == "unchanged"
    assert change(None, 1.0) == change(0.0, 1.0) == change(1.0, None) == ""
