"""The code of the pages of documentation runs as it stands."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md") if "```python" in path.read_text(encoding="utf-8"))
#: Pages whose code needs a package beyond the core.
EXTRAS = {"encrypted.md", "encrypted_reals.md", "mpc.md"}


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.extras] if page in EXTRAS else []) for page in PAGES]
)
def test_the_python_runs_from_top_to_bottom(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, page, "exec"), names)
