"""One cache of what is expensive to make: fitted models, releases, detectors, parts of studies.

An artefact is a folder `KIND/NAME-HASH`; the hash is of everything that it depends on. Its card says what that is, and
lists the files with their SHA-256, which are verified whenever it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from unlearn.errors import DataError, InputError
from unlearn.records import FILES, read_json, read_parquet, write_json, write_parquet
from unlearn.store.dependencies import roots, sources
from unlearn.store.files import digests, require_files
from unlearn.store.folders import create_folder, discard, kept, only_for_owner

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: The card of an artefact, and the file of a table.
CARD, TABLE = "artefact.json", "table.parquet"

_DIGITS = 12


class Fingerprinted(Protocol):
    """A data set: what identifies its content, and what people call it."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def name(self) -> str: ...


#: What an artefact learnt from, by its role: a data set, its fingerprint, or the key of another artefact.
Data = Mapping[str, "Fingerprinted | str"]


@dataclass(frozen=True)
class Artefact:
    """Something that is kept, or that may be.

    Attributes:
        folder: where it is.
    """

    folder: Path

    @property
    def key(self) -> str:
        """`KIND/NAME-HASH`, by which other artefacts name what they were made from."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def fingerprint(self) -> str:
        """The key: an artefact may be what another one learnt from."""
        return self.key

    @property
    def name(self) -> str:
        """What it is called, without the hash."""
        return self.folder.name.rpartition("-")[0]

    @cached_property
    def card(self) -> Mapping[str, Any] | None:
        """What its card says; None if that is damaged or missing."""
        try:
            return read_json(self.folder / CARD)
        except DataError:
            return None

    @property
    def data(self) -> Mapping[str, str]:
        """What it learnt from: fingerprints of data sets and keys of artefacts, by role."""
        return {role: of["fingerprint"] for role, of in (self.card or {}).get("data", {}).items()}

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    @property
    def written(self) -> datetime:
        """When it was made."""
        if self.card is None:
            return datetime.fromtimestamp(self.folder.stat().st_mtime, UTC)
        return datetime.fromisoformat(self.card["written_utc"])

    def is_stale(self) -> bool:
        """Whether the code or the packages that made it are others today, or are no longer there."""
        if self.card is None:
            return True
        try:
            code = sources(*self.card["roots"])
        except InputError:
            return True
        return code != self.card["code"] or _versions(self.card["packages"]) != self.card["packages"]

    def require_whole(self) -> None:
        """Check its files.

        Raises:
            DataError: the card or a file is missing or damaged; names file and remedy.
        """
        require_files(self.folder, read_json(self.folder / CARD).get(FILES))


class Store:
    """A folder of artefacts, each under a key of everything that it depends on.

    What an artefact depends on is said by the caller, in the arguments that `artefact` and `get` share:

    - `options`: dataclasses, mappings, sequences, numbers, texts, arrays. Fields of a dataclass that are declared with
      `compare=False` change no result, and no key.
    - `data`: what it learnt from, by role, such as `{"train": dataset}`: a data set, a fingerprint, or the key of
      another artefact. `prune` finds by it what has to go when data is deleted, so name the whole data set beside a
      part of it.
    - `code`: functions and classes that make it; the source of all that they import counts, see `sources`.
    - `packages`: those whose versions change results, such as "torch".

    Processes and machines may share a folder. A temporary name is renamed when an artefact is complete, so that of
    several that make the same one all go on with the first.
    """

    def __init__(self, folder: str | Path, *, confidential: bool = False) -> None:
        """Name the folder; it is created when something is kept.

        Args:
            folder: the folder.
            confidential: whether what is kept tells of customers: mode 600, and 700 of folders, which are closed to
                others where they are open.
        """
        self.folder, self.confidential = Path(folder), confidential

    def artefact(self, kind: str, name: str | None = None, **depends: Any) -> Artefact:
        """What `get` with the same arguments reads or makes, whether it is there or not."""
        return self._place(_identity(kind, name or kind, **depends))

    def get(
        self,
        kind: str,
        name: str | None = None,
        *,
        make: Callable[[Path], object],
        read: Callable[[Path], T],
        once: bool = False,
        remake: bool = True,
        **depends: Any,
    ) -> T:
        """Return what is kept; where it is missing, or damaged, it is made first.

        Args:
            kind: folder of all artefacts of this kind.
            name: how this one's folder begins, for people; the kind if None.
            make: writes the artefact into the empty folder that it is given.
            read: reads it from a folder whose files are those that were written.
            once: whether of several processes one makes it while the others wait.
            remake: False where a damaged artefact must not be made anew, as making it spends privacy.
            depends: `options`, `data`, `code`, `packages`, see the class.

        Raises:
            DataError: it is damaged, and `remake` is False.
            InputError: options or data that have no key.
            StoreError: it cannot be written.
        """
        identity = _identity(kind, name or kind, **depends)
        artefact = self._place(identity)
        path = artefact.folder

        def fill(folder: Path) -> None:
            make(folder)
            files = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
            card = {**identity, FILES: digests(folder, files), "written_utc": datetime.now(UTC).isoformat()}
            write_json(card, folder / CARD)
            if self.confidential:
                for inner in folder.rglob("*"):
                    inner.chmod(0o700 if inner.is_dir() else 0o600)

        def create() -> None:
            if self.confidential:
                only_for_owner(path.parent)
            start = time.perf_counter()
            if create_folder(path, fill, confidential=self.confidential):
                logger.info("%s made in %.1f s, kept in %s", artefact.name, time.perf_counter() - start, path)

        def read_whole() -> T:
            artefact.require_whole()
            return read(path)

        return kept(path, read_whole, create, once=once, remake=remake)

    def table(
        self, kind: str, name: str | None = None, *, make: Callable[[], pd.DataFrame], **more: Any
    ) -> pd.DataFrame:
        """A table that is kept, or that `make` makes; the other arguments are those of `get`."""
        return self.get(
            kind,
            name,
            make=lambda folder: write_parquet(make(), folder / TABLE),
            read=lambda folder: read_parquet(folder / TABLE),
            **more,
        )

    def artefacts(self) -> list[Artefact]:
        """All artefacts in the folder and in all folders below it, in the order of their paths."""
        folders = (card.parent for card in sorted(self.folder.rglob(CARD)))
        # What begins with a dot is being written.
        return [Artefact(folder) for folder in folders if "/." not in f"/{folder.relative_to(self.folder).as_posix()}"]

    def damaged(self) -> Iterator[tuple[Artefact, str]]:
        """Artefacts whose files are not what was written, each with what is wrong."""
        for artefact in self.artefacts():
            try:
                artefact.require_whole()
            except DataError as error:
                yield artefact, str(error)

    def prune(
        self,
        *,
        data: str | None = None,
        older: timedelta | None = None,
        stale: bool = False,
        everything: bool = False,
        dry_run: bool = False,
    ) -> list[Artefact]:
        """Remove artefacts, and those that were made from them.

        Args:
            data: those that learnt from this data set (its fingerprint) or artefact (its key). One whose card is
                damaged goes, too, as nobody can tell what it learnt from.
            older: those that were made longer ago.
            stale: those whose code or packages have changed since.
            everything: all.
            dry_run: remove nothing.

        Returns:
            What was removed, or would be.

        Raises:
            InputError: nothing is said of what shall go.
        """
        if not (data or older is not None or stale or everything):
            raise InputError("prune: expected data, older, stale or everything, got none of them.")
        now, found = datetime.now(UTC), self.artefacts()
        gone = {
            artefact.key: artefact
            for artefact in found
            if everything
            or (data and (artefact.card is None or data in (artefact.key, *artefact.data.values())))
            or (older is not None and now - artefact.written > older)
            or (stale and artefact.is_stale())
        }
        while more := {a.key: a for a in found if a.key not in gone and not gone.keys().isdisjoint(a.data.values())}:
            gone |= more
        if not dry_run:
            for artefact in gone.values():
                discard(artefact.folder)
        return list(gone.values())

    def _place(self, identity: Mapping[str, Any]) -> Artefact:
        # Where code is from changes nothing that its hash does not.
        counted = {name: value for name, value in identity.items() if name != "roots"}
        digits = hashlib.sha256(_text(counted).encode()).hexdigest()[:_DIGITS]
        return Artefact(self.folder / identity["kind"] / f"{identity['name']}-{digits}")


def _identity(
    kind: str,
    name: str,
    *,
    options: object = None,
    data: Data | None = None,
    code: Sequence[object] = (),
    packages: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that an artefact depends on, as plain values for its card."""
    for word in (kind, name):
        if not word or not word.replace("-", "_").replace(".", "_").isidentifier():
            raise InputError(f"store: expected a kind and a name of letters, digits, '_', '-' and '.', got {word!r}.")
    return {
        "kind": kind,
        "name": name,
        "options": canonical(options),
        "data": {role: _described(role, value) for role, value in (data or {}).items()},
        "code": sources(*code),
        "roots": list(roots(*code)),
        "packages": _versions(packages),
    }


def _described(role: str, value: object) -> dict[str, str]:
    name = ""
    if not isinstance(value, str):
        value, name = getattr(value, "fingerprint", None), str(getattr(value, "name", ""))
    if not isinstance(value, str) or not value:
        raise InputError(
            f"store: data: {role}: expected a data set, its fingerprint or the key of an artefact, got none."
        )
    return {"fingerprint": value, "name": name}


def _versions(packages: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    found = {}
    for package in sorted(packages):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def canonical(value: object, where: str = "options") -> Any:
    """Options as JSON knows them, the same for the same options in whatever order they are given.

    Raises:
        InputError: something that has no such form; the message says where it stands.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.generic):
        return canonical(value.item(), where)
    if isinstance(value, Enum):
        return {"class": type(value).__qualname__, "name": value.name}
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        counted = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.compare}
        return {"class": type(value).__qualname__, **canonical(counted, where)}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InputError(f"store: {where}: expected texts as keys, got {sorted(map(repr, value))[:3]}.")
        return {key: canonical(inner, f"{where}.{key}") for key, inner in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [canonical(inner, f"{where}[{place}]") for place, inner in enumerate(value)]
    if isinstance(value, set | frozenset):
        return {"set": sorted((canonical(inner, where) for inner in value), key=_text)}
    if "<" not in (name := getattr(value, "__qualname__", "<")):  # no function within another, which may have values
        return {"code": f"{getattr(value, '__module__', '')}:{name}"}
    if isinstance(getattr(value, "fingerprint", None), str):
        return {"class": type(value).__qualname__, "fingerprint": value.fingerprint}  # type: ignore[attr-defined]
    if hasattr(value, "isoformat"):
        return {"time": value.isoformat()}
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if not array.dtype.hasobject:
            content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
            return {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": content}
    raise InputError(
        f"store: {where}: expected numbers, texts, arrays, sequences, mappings or dataclasses of them, got "
        f"{type(value).__name__}. What cannot be told apart cannot be kept apart: pass what it is made of."
    )


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
