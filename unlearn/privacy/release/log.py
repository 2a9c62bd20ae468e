"""What was asked and charged: in memory, or in a file that several processes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from unlearn.dp.composition import Loss
from unlearn.dp.lines import add_line, read_lines
from unlearn.errors import InputError, MismatchError, StoreError, system_reason
from unlearn.privacy.release.budget import Budget, Filter


@dataclass(frozen=True)
class Charge:
    """One charged question.

    Attributes:
        number: its number, from 0.
        question: a hash of query, view and bounds.
        query: name of the query.
        loss: what it costs.
        answered: whether its answer was given; one that failed or was killed stays charged, and may be asked again.
    """

    number: int
    question: str
    query: str
    loss: Loss
    answered: bool


class ReleaseLog:
    """Charges of one budget; with a path in a file of mode 600 that holds no data, whose lines have checksums."""

    def __init__(self, budget: Budget, path: str | Path | None) -> None:
        self.budget, self.path = budget, None if path is None else Path(path)
        self._memory: list[Charge] = []
        with self._alone():
            self.charges()

    def charges(self) -> list[Charge]:
        """All charges so far, those of other processes with the same file too.

        Raises:
            DataError: a line of the file that is damaged.
            MismatchError: the file is of another budget.
        """
        if self.path is None:
            return list(self._memory)
        lines = read_lines(self.path)
        if lines and lines[0].get("budget") != asdict(self.budget):
            raise MismatchError(
                f"{self.path}: expected a log of {self.budget}, got one of another budget. Name the same budget, which "
                "was promised, or another file for other data."
            )
        answered = {line["answered"] for line in lines if "answered" in line}
        asked = [line for line in lines if "question" in line]
        return [Charge(i, own["question"], own["query"], _loss(own), i in answered) for i, own in enumerate(asked)]

    def filter(self) -> Filter:
        """The budget with all charges so far."""
        return Filter(self.budget, [own.loss for own in self.charges()])

    def charge(self, question: str, query: str, loss: Loss) -> Charge:
        """Charge a question; on the disk when this returns.

        Raises:
            InputError: the question was answered before, or the file cannot be written.
            BudgetError: the budget would be broken.
        """
        with self._alone():
            before = self.charges()
            if same := [own for own in before if own.question == question and own.answered]:
                raise InputError(
                    f"{query}: this was answered before (answer {same[0].number}): take it again with "
                    f"release.answers[{same[0].number}], or where you have kept it; asking again would average the "
                    "noise away. Ask for other hours or another statistic."
                )
            Filter(self.budget, [own.loss for own in before]).require(loss)
            charge = Charge(len(before), question, query, loss, False)
            if self.path is None:
                self._memory.append(charge)
            else:
                if not self.path.exists():
                    add_line(self.path, {"budget": asdict(self.budget)}, "an answer")
                when = datetime.now(UTC).isoformat()
                line = {"at": when, "question": question, "query": query, **_written(loss)}
                add_line(self.path, line, "an answer")
        return charge

    def answered(self, charge: Charge) -> None:
        """Note that the answer is ready; from now on the question is not answered again."""
        with self._alone():
            if self.path is None:
                self._memory[charge.number] = replace(charge, answered=True)
            else:
                add_line(self.path, {"answered": charge.number}, "an answer")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self.path is None:
            yield
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), mode=0o600)
            lock.acquire()
        except OSError as error:
            raise StoreError(f"{self.path}: {system_reason(error)}.") from error
        try:
            yield
        finally:
            lock.release()


def _written(loss: Loss) -> dict[str, Any]:
    """Infinity, which JSON has not, as None."""
    return {name: None if value == float("inf") else value for name, value in loss._asdict().items()}


def _loss(line: dict[str, Any]) -> Loss:
    return Loss(*(float("inf") if line[name] is None else line[name] for name in Loss._fields))
