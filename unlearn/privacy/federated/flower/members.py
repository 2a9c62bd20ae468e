"""Who takes part, what is run, and what comes of it: the same for one process, a simulation, and real processes.

A *job* is what the coordinator does: a function of a channel and of settings that returns files. A *factory* is how a
member answers: a function of the settings and of the `Member` that returns a `Party`. The coordinator names the job.
Each member names its own factory, in a file of its own, so that nobody else decides what code reads its data.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from unlearn.checks import require_distinct
from unlearn.errors import InputError, UnlearnError
from unlearn.privacy.federated.channel import COORDINATOR, Channel, LocalChannel
from unlearn.privacy.federated.messages import Payload, as_bytes, pack, unpack
from unlearn.privacy.federated.party import ABORT, Party
from unlearn.store import create_folder, write

#: What a job is told: values that JSON can hold. Every member can read them.
Settings = Mapping[str, Any]
#: What the coordinator does; returns the files of the result by their names.
Job = Callable[[Channel, Settings], Mapping[str, bytes]]
#: How a member answers.
Factory = Callable[[Settings, "Member"], Party]

#: File of every result that says what was sent.
TRAFFIC = "traffic.json"

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_LONGEST_NAME = 100
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """One member, as its own operator describes it.

    Attributes:
        name: within the federation.
        party: its factory, as "module:function".
        data: the file or folder that the factory reads.
        keeps: file in which the member keeps its state from one job to the next; without it, state ends with the job.
    """

    name: str
    party: str
    data: Path
    keeps: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= _LONGEST_NAME or self.name == COORDINATOR or not self.name.isprintable():
            raise InputError(
                f"member: expected a name of 1 to {_LONGEST_NAME} printable characters other than {COORDINATOR!r}, got "
                f"{self.name[:_LONGEST_NAME]!r}. Choose another."
            )
        require_reference("member.party", self.party)

    @classmethod
    def read(cls, path: str | Path) -> Member:
        """Read a member from its JSON file; paths in it are relative to its folder.

        Raises:
            InputError: it cannot be read, or lacks or has an entry that it should not.
        """
        path = Path(path)
        try:
            entries = json.loads(path.read_text())
            given = {"name": str(entries["name"]), "party": str(entries["party"]), "data": str(entries["data"])}
            keeps = entries.get("keeps")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: expected a JSON object with name, party, data and perhaps keeps, got {type(error).__name__}. "
                "Write it with Member.write."
            ) from error
        own = path.parent
        return cls(given["name"], given["party"], own / given["data"], None if keeps is None else own / str(keeps))

    def write(self, path: str | Path) -> Path:
        """Write the JSON file that `read` reads."""
        entries = {"name": self.name, "party": self.party, "data": str(Path(self.data).resolve())}
        if self.keeps is not None:
            entries["keeps"] = str(Path(self.keeps).resolve())
        write(path, json.dumps(entries, indent=2).encode())
        return Path(path)

    def build(self, settings: Settings) -> Party:
        """The party that answers, with what the member keeps in its file, if it has one.

        Raises:
            InputError: the factory is not found, or gives a party of another name.
        """
        party = named("member.party", self.party)(settings, self)
        if party.name != self.name:
            raise InputError(
                f"{self.party}: expected a party named {self.name}, got {party.name}. Take the name given."
            )
        if self.keeps is not None and self.keeps.exists():
            party.kept.update(unpack(self.keeps.read_bytes()))
        return party

    def keep(self, kept: Payload) -> None:
        """Write what the member keeps into its file, if it has one, readable by its owner alone."""
        if self.keeps is not None:
            write(self.keeps, pack(kept), confidential=True)


def require_reference(where: str, reference: str) -> str:
    """Refuse what is no "module:function"."""
    if not _REFERENCE.fullmatch(reference):
        raise InputError(
            f'{where}: expected "module:function", got {reference!r}. Write module and function with a colon.'
        )
    return reference


def named(where: str, reference: str) -> Callable[..., Any]:
    """The function behind "module:function".

    Raises:
        InputError: there is none.
    """
    module, _, function = require_reference(where, reference).partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{where}: expected the name of a function that can be imported, got {reference!r} ({error}). Install its "
            "module, or set PYTHONPATH."
        ) from error
    if not callable(found):
        raise InputError(f"{where}: expected a function, got a {type(found).__name__} at {reference!r}.")
    return found


def as_settings(text: str) -> dict[str, Any]:
    """Settings as they travel, checked."""
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise InputError(f"settings: expected a JSON object, got {len(text)} characters that are none.") from error
    if not isinstance(settings, dict):
        raise InputError(f"settings: expected a JSON object, got a {type(settings).__name__}.")
    return settings


def as_json(settings: Settings) -> str:
    """Settings as JSON.

    Raises:
        InputError: a value that JSON cannot hold.
    """
    try:
        return json.dumps(dict(settings), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"settings: expected values that JSON can hold, got another ({error}).") from error


def run_job(job: str, channel: Channel, settings: Settings, folder: Path) -> Path:
    """Run a job over a channel and write its files into a folder, all or nothing, with a record of the traffic.

    If it fails, every member is told to abort, and why.
    """
    function: Job = named("job", job)
    start = time.perf_counter()
    try:
        files = dict(function(channel, settings))
    except BaseException as error:
        # What a bug says may hold data, and goes no further than the coordinator.
        tell_abort(
            channel, str(error) if isinstance(error, UnlearnError) else f"the job failed: {type(error).__name__}"
        )
        raise
    sent = channel.traffic.sent
    files[TRAFFIC] = json.dumps(
        {
            "seconds": time.perf_counter() - start,
            "messages": len(sent),
            "bytes": {name: channel.traffic.n_bytes(name) for name in (COORDINATOR, *channel.members)},
        },
        indent=2,
    ).encode()
    if not create_folder(folder, lambda temporary: _fill(temporary, files), confidential=True):
        raise InputError(f"{folder}: expected no result there yet, got one. Name another folder.")
    return folder


def tell_abort(channel: Channel, reason: str) -> None:
    """Tell every member that the job ends without a result; whoever cannot be reached learns nothing."""
    try:
        channel.ask(ABORT, {name: {"reason": as_bytes(reason)} for name in channel.members})
    except Exception:
        # The first error is the one to be raised.
        logger.warning("members could not be told that the job ends", exc_info=True)


def run_locally(job: str, settings: Settings, members: Sequence[Member], folder: str | Path) -> Path:
    """Run a job within this process, over a `LocalChannel`.

    Args:
        job: "module:function" of a `Job`.
        settings: what the job and the members' factories are told.
        members: who takes part.
        folder: for the results; must not exist.

    Returns:
        The folder.

    Raises:
        InputError: see `Member.build`.
        UnlearnError: what the job raises.
    """
    require_distinct("federation", [one.name for one in members], "member")
    settings = as_settings(as_json(settings))
    parties = [one.build(settings) for one in members]
    try:
        return run_job(job, LocalChannel(parties), settings, Path(folder))
    finally:
        for member, party in zip(members, parties, strict=True):
            member.keep(party.kept)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        if Path(name).name != name:
            raise InputError(f"job: expected plain names of result files, got {name!r}. Leave folders out.")
        (folder / name).write_bytes(content)
