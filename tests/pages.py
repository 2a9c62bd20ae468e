"""Pages as a reader sees them: an image in base64 holds any word by chance, so no test may look for words in it."""

import re
from pathlib import Path

#: What follows the first letters, which name the format: "iVBOR" begins every PNG.
ENCODED = re.compile(r"(;base64,.{5})[A-Za-z0-9+/=\s]*")


def read_page(path: Path) -> str:
    """A page without the encoded data of its images."""
    return ENCODED.sub(r"\1", path.read_text(encoding="utf-8"))


def assert_self_contained(page: str) -> None:
    """A page that `read_page` gave shows its image and asks for nothing from elsewhere; a name space is no address."""
    assert "data:image/png;base64,iVBOR" in page
    assert "http" not in page.replace("http://www.w3.org", "")
