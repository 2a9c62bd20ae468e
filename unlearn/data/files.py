"""Files and archives that people bring: whatever is wrong with one is said in our words, with what to do about it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from unlearn.errors import DataError, InputError, UnlearnError, said
from unlearn.limits import require_unpackable, unpacked

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
            require_unpackable(self.path, self._zip.infolist(), self.path.stat().st_size, DataError)
        self.names = tuple(sorted(name for name in self._zip.namelist() if not name.endswith("/")))

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
