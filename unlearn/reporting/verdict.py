"""What a study says: answers, tables and the contents of its page, as plain data made from records alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

YES, NO, UNCLEAR = "yes", "no", "not clear"

#: Rows of a table: mappings with the same keys, which are the titles of its columns.
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Answer:
    """The answer to a question about one subject.

    Attributes:
        subject: what is asked about: a model, a release, an attack.
        answer: `YES`, `NO`, `UNCLEAR`, or another word where the question does not apply.
        reason: a sentence or a part of one.
        question: where a page answers several.
    """

    subject: str
    answer: str
    reason: str
    question: str = ""

    def __str__(self) -> str:
        asked = f" {self.question}" if self.question else ""
        return f"{self.subject}:{asked} {self.answer.capitalize()}. {capital(self.reason)}"


@dataclass(frozen=True)
class Block:
    """A part of a page below its figure: a title, then whichever of a text, points, figures, a table, a note it has.

    Attributes:
        title: heading.
        lead: a paragraph.
        points: a list of sentences.
        figures: figures or PNG files, each with its caption.
        rows: a table.
        texts: columns of the table that are aligned left.
        note: what explains the table.
        folded: summary under which the table is folded away; it stands open without.
        code: shown as it is.
    """

    title: str = ""
    lead: str = ""
    points: Sequence[str] = ()
    figures: Sequence[tuple[str, Any]] = ()
    rows: Rows = ()
    texts: int = 1
    note: str = ""
    folded: str = ""
    code: str = ""

    def __bool__(self) -> bool:
        return bool(self.lead or self.points or self.figures or self.rows or self.code)


@dataclass(frozen=True)
class Page:
    """The contents of a page, in the order in which it shows them.

    Attributes:
        question: heading.
        answer: `YES`, `NO` or `UNCLEAR`.
        because: the rest of the sentence that answers the question.
        about: what was measured on what.
        figure: the figure in words.
        blocks: answers one by one, findings, tables.
        measured: what was measured, and how: a sentence or two each.
        limits: what was not measured, and is not claimed.
        alarm: whether yes is bad news.
        internal: whether the page compares with real data, and is for its owner only.
        data: of a part that the study brings itself.
    """

    question: str
    answer: str
    because: str
    about: str = ""
    figure: str = ""
    blocks: Sequence[Block] = field(default=(), repr=False)
    measured: Sequence[str] = ()
    limits: Sequence[str] = ()
    alarm: bool = False
    internal: bool = False
    data: Any = None

    @property
    def said(self) -> str:
        """The sentence that a page opens with."""
        return f"{self.answer.capitalize()}: {self.because}"


def overall(answers: Iterable[str]) -> str:
    """One answer for several: yes or no where all say so, otherwise not clear."""
    found = set(answers)
    return found.pop() if len(found) == 1 and found <= {YES, NO} else UNCLEAR


def agreed(holds: Iterable[bool]) -> str:
    """Yes where all of several findings hold, no where none does, otherwise not clear; as of none."""
    return overall(YES if one else NO for one in holds)


def answer_rows(answers: Iterable[Answer], subject: str = "model") -> list[dict[str, str]]:
    """Answers as a table."""
    return [
        {subject: own.subject, **({"question": own.question} if own.question else {}), "answer": own.answer}
        | {"why": own.reason}
        for own in answers
    ]


def capital(text: str) -> str:
    """A text that begins with a capital letter."""
    return text[:1].upper() + text[1:]
