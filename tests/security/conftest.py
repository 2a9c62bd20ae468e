"""What an attack tried and found: each test tells it, and `make test-attacks` ends with one table of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

#: Tells the table of one attack: what was tried, how often, what it found before its mitigation and what it finds now.
Attacked = Callable[[str, int, str, str], None]

_ROW = "attack"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/security/" in item.path.as_posix():
            item.add_marker(pytest.mark.attacks)


@pytest.fixture
def attacked(record_property: Callable[[str, object], None]) -> Attacked:
    """`attacked(attack, tries, before, after)`; `after` is what this run found, `before` what was measured then."""

    def tell(attack: str, tries: int, before: str, after: str) -> None:
        record_property(_ROW, (attack, str(tries), before, after))

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = sorted(_rows(terminalreporter))
    if not rows:
        return
    rows.insert(0, ("attack", "tries", "before", "after"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    terminalreporter.write_sep("=", "attacks")
    for row in rows:
        terminalreporter.write_line(" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def _rows(terminalreporter: pytest.TerminalReporter) -> Iterator[tuple[str, str, str, str]]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                yield from (tuple(value) for name, value in report.user_properties if name == _ROW)
