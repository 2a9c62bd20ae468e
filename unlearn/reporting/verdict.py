"""What a study says, made from records alone: numbers over seeds, answers, tables and the contents of its page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from unlearn.errors import InputError


@dataclass(frozen=True)
class Spread:
    """A number over seeds, or with its interval.

    Attributes:
        mean: over seeds.
        low: least value of the seeds, or the lowest end of their intervals.
        high: largest value, or the highest end.
        sd: standard deviation over seeds (n − 1 in the denominator); NaN for one seed.
        n: seeds.
    """

    mean: float
    low: float
    high: float
    sd: float = np.nan
    n: int = 1

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Mean and range of values, shape (n,)."""
        found = np.asarray(values, dtype=np.float64)
        sd = float(found.std(ddof=1)) if len(found) > 1 else np.nan
        low, high = float(found.min()), float(found.max())
        # The mean of equal numbers may differ from them in the last digit; error bars must not be negative.
        return cls(float(found.mean().clip(low, high)), low, high, sd, len(found))

    @classmethod
    def at(cls, value: float, low: float | None = None, high: float | None = None) -> Self:
        """A number with its interval, or without one."""
        return cls(float(value), float(value if low is None else low), float(value if high is None else high))

    @classmethod
    def of_intervals(cls, rows: pd.DataFrame) -> Self | None:
        """Mean of `value`, and the outermost ends of `low` and `high`; None where nothing was measured."""
        rows = rows.dropna(subset=["value"])
        if rows.empty:
            return None
        ends = rows.reindex(columns=["value", "low", "high"]).to_numpy(np.float64)
        return cls(float(rows["value"].mean()), float(np.nanmin(ends)), float(np.nanmax(ends)), n=len(rows))

    def leaves_out(self, value: float) -> bool:
        """Whether all of several seeds lie on the same side of a value."""
        return self.n > 1 and not self.low <= value <= self.high

    def times(self, factor: float) -> Spread:
        """The number in another unit."""
        return Spread(factor * self.mean, factor * self.low, factor * self.high, factor * self.sd, self.n)

    def range(self, form: str = ".3g") -> str:
        """ " (low to high)", or nothing where both ends read alike."""
        low, high = (write(value, form) for value in (self.low, self.high))
        return "" if low == high else f" ({low} to {high})"

    def text(self, form: str = ".3g", unit: str = "") -> str:
        """The mean with its range in brackets, such as "1.14 (1.10 to 1.20)"."""
        return f"{write(self.mean, form)}{unit}{self.range(form)}"


def text(found: Spread | None, form: str = ".3g") -> str:
    """A number as it stands in a table; a dash where there is none."""
    return "–" if found is None else found.text(form)


def write(value: float | Spread | None, form: str = ".3g") -> str:
    """A number, or a mean without its range, in a format; "short" is three digits, or all before the point."""
    value = value.mean if isinstance(value, Spread) else value
    if value is None or not np.isfinite(value):
        return "∞" if value is not None and np.isinf(value) else "–"
    if form == "short":
        form = ",.0f" if abs(value) >= 100 else ".3g"
    said = format(value, form).replace("%", " %")
    return said.removeprefix("-") if not said.strip("-0.,% ") else said  # no −0


def counted(n: float, what: str) -> str:
    """A number of things: "1 seed", "2,000 meters", "5 utilities"."""
    if n == 1:
        return f"1 {what}"
    ends_in_ies = what.endswith("y") and what[-2] not in "aeiou"
    return f"{n:,.0f} {what[:-1] + 'ies' if ends_in_ies else what + 's'}"


def seeds_of(records: pd.DataFrame) -> str:
    """How many seeds the records hold."""
    return counted(records["seed"].nunique(), "seed")


def select(records: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Records whose columns have the wanted values.

    Args:
        records: of any study.
        wanted: column and value, such as `metric="cost"`; None asks for an empty cell, `...` for one that is not
            empty, several values for any of them. A column that is not there is empty.
    """
    chosen = np.ones(len(records), dtype=bool)
    for column, value in wanted.items():
        own = records[column] if column in records else pd.Series(None, index=records.index, dtype=object)
        if value is None or value is ...:
            chosen &= (own.isna() if value is None else own.notna()).to_numpy()
        elif isinstance(value, str) or not isinstance(value, Iterable):
            chosen &= (own == value).to_numpy(dtype=bool)
        else:
            chosen &= own.isin(list(value)).to_numpy()
    return records[chosen]


def by_key(records: pd.DataFrame, keys: Sequence[str], columns: Sequence[str]) -> dict[tuple, list[tuple]]:
    """Values of some columns by those of the key columns, in which an empty cell is "": for many look-ups."""
    found: dict[tuple, list[tuple]] = {}
    cells = [records[key].astype(object).where(records[key].notna(), "") for key in keys]
    values = [records[column] for column in columns]
    for row in zip(*cells, *values, strict=True):
        found.setdefault(row[: len(cells)], []).append(row[len(cells) :])
    return found


def over_seeds(rows: pd.DataFrame) -> Spread | None:
    """Mean and range over seeds; what a seed measured several times counts once, what is not finite not at all."""
    values = rows.groupby("seed")["value"].mean().to_numpy(np.float64) if len(rows) else np.empty(0)
    return Spread.of(values[np.isfinite(values)]) if np.isfinite(values).any() else None


def intervals(rows: pd.DataFrame, by: str = "attack") -> dict[str, Spread]:
    """Of each attack, or whatever the column `by` names: mean over seeds with the outermost ends of its intervals."""
    found = {str(name): Spread.of_intervals(own) for name, own in rows.groupby(by, sort=False)}
    return {name: spread for name, spread in found.items() if spread}


def require_columns(study: str, records: pd.DataFrame, *columns: str, metric: str = "", run: str = "") -> None:
    """Refuse the records of something else.

    Raises:
        InputError: columns or the metric are missing; names them and what to run.
    """
    missing = [column for column in columns if column not in records]
    absent = metric and metric not in set(records["metric"])
    if missing or absent:
        asked = f"the metric {metric}" if metric else f"the columns {' and '.join(columns)}"
        raise InputError(f"{study}: expected records with {asked}; run {run or study} first.")


def require_one(study: str, records: pd.DataFrame, columns: Sequence[str], what: str) -> pd.Series:
    """The values that all records share, such as data and forecaster.

    Raises:
        InputError: the records are of several.
    """
    found = records[list(columns)].drop_duplicates()
    if len(found) != 1:
        raise InputError(f"{study}: expected records of one {what}, got {len(found)}.")
    return found.iloc[0]


def require_once(study: str, records: pd.DataFrame, keys: Sequence[str], said: Sequence[str] = ()) -> None:
    """Refuse records that hold a number twice for a seed.

    Args:
        study: its name.
        records: to look at.
        keys: columns that, with the seed, name a number.
        said: columns that the message names; by default `keys`.

    Raises:
        InputError: names the number.
    """
    twice = records[records.duplicated([*(key for key in keys if key in records), "seed"])]
    if len(twice):
        first = twice.iloc[0]
        which = " of ".join(str(first[key]) for key in (said or keys) if key in records and pd.notna(first[key]))
        raise InputError(
            f"{study}: expected each number once for every seed, got {which} twice for seed {first['seed']} "
            f"({len(twice)} such records). Name the folder of one run."
        )


def require_one_setting(study: str, records: pd.DataFrame, keys: Sequence[str], of: str = "detector") -> None:
    """Refuse records that hold a number twice for a seed, detectors with other seeds than the others, or several data.

    Raises:
        InputError: names the study, and what differs.
    """
    data = [str(name) for name in records["data"].unique()]
    if len(data) > 1:
        raise InputError(f"{study}: expected records of one data set, got {', '.join(data)}.")
    require_once(study, records, keys, ["metric", of])
    seeds = {str(name): sorted(own["seed"].unique().tolist()) for name, own in records.groupby(of, sort=False)}
    most = max(seeds, key=lambda name: len(seeds[name]))
    for name, own in seeds.items():
        if own != seeds[most]:
            raise InputError(
                f"{study}: expected the same seeds of every {of}, got {own} of {name} and {seeds[most]} of {most}. Run "
                f"{study} anew."
            )


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
