"""Pages as a reader sees them: an image in base64 holds any word by chance, so no test may look for words in it."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd

from unlearn.reporting.style import NOT_A_RESULT

#: What follows the first letters, which name the format: "iVBOR" begins every PNG.
ENCODED = re.compile(r"(;base64,.{5})[A-Za-z0-9+/=\s]*")


def read_page(path: Path) -> str:
    """A page without the encoded data of its images."""
    return ENCODED.sub(r"\1", path.read_text(encoding="utf-8"))


def assert_self_contained(page: str) -> None:
    """A page that `read_page` gave shows its image and asks for nothing from elsewhere; a name space is no address."""
    assert "data:image/png;base64,iVBOR" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def drawn_page(report: ModuleType, records: pd.DataFrame, folder: Path) -> str:
    """The page that a study's report makes of records of a tiny run, and of nothing else; with all its figures."""
    records = records.assign(tiny=True)
    png = report.save(records, folder / "figure")
    page = read_page(report.write_page(records, png, folder / "index.html"))
    assert_self_contained(page)
    assert page.index(NOT_A_RESULT) < page.index("<h1")
    assert page.count("<img") == len(report.FIGURES)
    return page


def sentences_without_figures(study: str, made: str) -> str:
    """What a study says of made-up records, in a process that never imports matplotlib.

    Args:
        study: its name.
        made: module of its tests that has `made_records`.
    """
    code = (
        f"import sys; from tests.studies.{study}.{made} import made_records; "
        f"from unlearn.studies.{study}.verdict import summarise; "
        "print(*summarise(made_records()), sep='\\n'); sys.exit('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
