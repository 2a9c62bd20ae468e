import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Give every test an empty cache folder of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("UNLEARN_CACHE", str(folder))
    return folder
