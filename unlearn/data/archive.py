"""Files inside a zip archive or a folder, read the same way."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import TracebackType

from unlearn.data.files import as_path, foreign_errors
from unlearn.errors import DataError
from unlearn.limits import require_unpackable


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
