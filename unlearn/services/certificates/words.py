"""Numbers, times and names as the page of a certificate shows them: short, and safe in HTML whatever they hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

#: Signs of a name that are shown; no longer one is read by anybody.
SIGNS = 400


def safe(text: str) -> str:
    """A text in HTML, without signs that are not seen, or that turn the order of those around them.

    >>> safe("<b> & \\u202e")
    '&lt;b&gt; &amp; \\ufffd'
    """
    shown = "".join("\ufffd" if unicodedata.category(sign) in _UNSEEN else sign for sign in text[:SIGNS])
    return escape(shown + ("…" if len(text) > SIGNS else ""))


def name(text: str) -> str:
    """A name in HTML; letters that are written from the right stay within it."""
    return f"<bdi>{safe(text)}</bdi>"


def code(text: object) -> str:
    """An identifier in HTML, to be compared sign by sign."""
    return f"<code>{safe(str(text))}</code>"


def sentence(text: str) -> str:
    """A sentence in HTML, with its full stop and a capital."""
    text = text.strip()
    return f"{safe(text[:1].upper() + text[1:])}{'' if text.endswith(('.', '!', '?')) else '.'}"


def four(value: float | None, unit: str = "") -> str:
    """A number of at most four significant digits in HTML.

    >>> four(1234567.0), four(0.5), four(3.2e-12), four(None)
    ('1,235,000', '0.5', '3.2 × 10<sup>−12</sup>', 'not known')
    """
    if value is None:
        return "not known"
    mantissa, _, power = f"{value:.3e}".partition("e")
    exponent = int(power)
    if -5 < exponent < 9:
        text = f"{float(f'{value:.3e}'):,.{max(0, 3 - exponent)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{float(mantissa):g} × 10<sup>{exponent}</sup>"
    return text.replace("-", "−") + (f" {unit}" if unit else "")


def change(before: float | None, after: float | None) -> str:
    """By how much a number changed, in percent.

    >>> change(200.0, 190.0), change(0.0, 1.0)
    ('−5 %', '')
    """
    if not before or after is None:
        return ""
    percent = float(f"{100 * (after / before - 1):.2g}")
    return f"{'+' if percent > 0 else ''}{four(percent)} %" if abs(percent) >= 0.01 else "unchanged"


def when(text: str) -> str:
    """A time in UTC to the minute.

    >>> when("2030-01-01T12:30:15+02:00")
    '2030-01-01 10:30 UTC'
    """
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def counted(n: int, one: str, many: str = "") -> str:
    """A number with what it counts.

    >>> counted(1, "day"), counted(2, "day")
    ('1 day', '2 days')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def listed(items: Iterable[str]) -> str:
    """A list in HTML of what is HTML already; nothing of no items."""
    lines = "\n".join(f"<li>{item}</li>" for item in items)
    return f"<ul>\n{lines}\n</ul>" if lines else ""


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], n_texts: int = 1) -> str:
    """A table in HTML of cells that are HTML already; the first columns are texts, the others numbers."""

    def look(place: int) -> str:
        return "" if place < n_texts else ' class="number"'

    head = "".join(f'<th scope="col"{look(place)}>{column}</th>' for place, column in enumerate(columns))
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>'
        + "".join(f"<td{look(place)}>{cell}</td>" for place, cell in enumerate(row) if place)
        + "</tr>"
        for row in rows
    )
    titled = f"<caption>{caption}</caption>" if caption else ""
    return f'<div class="wide"><table>{titled}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


# Controls, marks of direction and of format, halves of characters, private ones, ends of lines and paragraphs.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
