"""`Federation`: a coordinator and its members in processes of their own on this machine, over TLS.

The same services, files and keys make a real deployment, see docs/federated.md; here one object starts and stops all.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tqdm import tqdm

from unlearn import errors
from unlearn.checks import require_distinct, require_package
from unlearn.errors import ProtocolError
from unlearn.privacy.federated.channel import COORDINATOR
from unlearn.privacy.federated.flower.certificates import Certificates, make_certificates, make_member_key
from unlearn.privacy.federated.flower.launch import OWNER, QUIET
from unlearn.privacy.federated.flower.members import Member, Settings, as_json, require_reference

_LAUNCH = "unlearn.privacy.federated.flower.launch"
_APPS = "unlearn.privacy.federated.flower.apps"
#: Marks this federation's processes, so that none is left and no other is touched.
_MARK = "UNLEARN_FEDERATION"
_RESULTS = "UNLEARN_FEDERATED_RESULTS"
_HOST = "127.0.0.1"
_POLL_S = 0.1
#: A service that was asked to end gets this long.
_GRACE_S = 5.0
#: What a node of Flower says when it is let in.
_LET_IN = "SuperNode ID:"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
#: Characters of a log that an error quotes.
_TAIL = 600
logger = logging.getLogger(__name__)


class Federation:
    """Flower's SuperLink and one SuperNode per member, from `with` to its end.

    Args:
        members: who is started at once; `start_member` starts others later.
        folder: for keys, logs and results; of its owner alone.
        certificates: the coordinator's, valid for 127.0.0.1; by default new ones.
        patience_s: how long services may take to be ready, and members to come to a job.
        timeout_s: how long members may take for one answer. About two seconds of it are Flower's, who starts a process
            for each message.

    Raises:
        InputError: two members of one name.
        MissingPackageError: Flower is not installed.
    """

    def __init__(
        self,
        members: Sequence[Member],
        folder: str | Path,
        certificates: Certificates | None = None,
        patience_s: float = 90.0,
        timeout_s: float = 60.0,
    ) -> None:
        require_package("Federation", "flwr", '"unlearn[federated]"')
        require_distinct("federation", [one.name for one in members], "member")
        self.members, self.folder = tuple(members), Path(folder).resolve()
        self.certificates, self.patience_s, self.timeout_s = certificates, patience_s, timeout_s
        self.logs, self.results = self.folder / "logs", self.folder / "results"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._mark = secrets.token_hex(16)
        self._log_names: dict[str, str] = {}
        self._address = ""

    def __enter__(self) -> Self:
        for folder in (self.folder, self.logs, self.results, self.folder / "app", self.folder / "home"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._start_coordinator()
            for member in self.members:
                self.start_member(member)
            self.await_members([one.name for one in self.members])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start_member(
        self,
        member: Member,
        *,
        registered: bool = True,
        certificates: Certificates | None = None,
        key: Path | None = None,
    ) -> str:
        """Start a member's node, also after others.

        Args:
            member: who it is.
            registered: whether the coordinator lets its key in.
            certificates: whose authority it trusts, if another than the coordinator's.
            key: of its node, made by `make_member_key`; a new one by default. No two nodes may have one key.

        Returns:
            The name of its process: the member's, with a number if there was one of that name before.
        """
        assert self.certificates is not None
        number = len(self.processes)
        name = f"{member.name} ({number})" if member.name in self.processes else member.name
        own = self.folder / f"member-{number}"
        own.mkdir(mode=0o700, exist_ok=True)
        private, public = make_member_key(own / "node.key") if key is None else (key, key.with_name(f"{key.name}.pub"))
        described = member.write(own / "member.json")
        if registered:
            self._steer("supernode", "register", str(public), "here")
        # What Flower does on a port of the member's own machine is for processes of that machine, in plain.
        self._start(
            name, f"member-{number}", "member", "--superlink", self._address,
            "--root-certificates", str((certificates or self.certificates).authority),
            "--auth-supernode-private-key", str(private), "--node-config", f'member="{described}"',
            "--host", _HOST, "--port", str(free_port()), "--max-wait-time", f"{self.patience_s:g}",
        )  # fmt: skip
        return name

    def await_members(self, names: Sequence[str]) -> None:
        """Wait until the coordinator has let in the nodes of members that were started.

        Raises:
            ProtocolError: a node ended, or is not let in.
        """
        done = tqdm(total=len(names), desc="members", delay=2, leave=False)
        with done:
            for name in names:
                self._wait_for(partial(self._is_let_in, name), name, f"{name}: expected its node to be let in")
                done.update()

    def run(self, job: str, settings: Settings, least: int | None = None) -> Path:
        """Run a job.

        Args:
            job: "module:function" of a `Job`; the coordinator's processes can import it.
            settings: what the job and the members' factories are told; every member can read them.
            least: how many members have to be there to begin; by default all that were given at the start.

        Returns:
            The folder of the results.

        Raises:
            ProtocolError: too few members came; the coordinator ended; what else the job raises.
            UnlearnError: what the job raises.
        """
        told = {
            "job": require_reference("job", job), "settings": as_json(settings),
            "least-members": len(self.members) if least is None else least,
            "timeout-s": self.timeout_s, "patience-s": self.patience_s,
        }  # fmt: skip
        app = self.folder / "app"
        (app / "pyproject.toml").write_text(app_project())
        overrides = app / "run.toml"
        overrides.write_text(
            "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in told.items())
        )
        try:
            started = self._steer("run", str(app), "here", "--run-config", str(overrides), "--format", "json")
        finally:
            overrides.unlink()
        number = json.loads(started)["run-id"]
        folder, failed = self.results / str(number), self.results / f"{number}.failed"
        # An app that cannot even be loaded leaves no note, so Flower is asked now and then.
        next_look = time.monotonic() + 10
        while not folder.exists() and not failed.exists():
            if self.processes["coordinator"].poll() is not None:
                raise ProtocolError(
                    f"coordinator: expected a result of {job}, but it ended. {self._see('coordinator')}"
                )
            if time.monotonic() > next_look:
                next_look = time.monotonic() + 10
                if self._has_finished(number):
                    time.sleep(1)
                    if not folder.exists() and not failed.exists():
                        raise ProtocolError(f"coordinator: {job} ended without a result. {self._see('coordinator')}")
            time.sleep(_POLL_S)
        if failed.exists():
            note = json.loads(failed.read_text())
            kind = getattr(errors, note["kind"], None) if note["kind"] else None
            if kind is None:
                raise ProtocolError(f"coordinator: {job} failed ({note['message']}). {self._see('coordinator')}")
            raise kind(note["message"])
        return folder

    def kill(self, name: str) -> None:
        """Kill a member's node, as when its machine fails; what its app is doing ends, too."""
        self.processes[name].kill()
        self.processes[name].wait()

    def log(self, name: str) -> str:
        """What the processes of a member, or of the "coordinator", have said so far."""
        logs = [self.logs / f"{self._log_names[name]}.log"]
        if name == COORDINATOR:
            logs += sorted(self.results.glob("*.log"))  # of its jobs
        return "\n".join(log.read_text(errors="replace") for log in logs)

    def close(self) -> None:
        """End every process, however it takes it."""
        living = [process for process in self.processes.values() if process.poll() is None]
        for process in living:
            process.terminate()
        end = time.monotonic() + _GRACE_S
        for process in living:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # Nodes start processes in sessions of their own; these watch their parents and end by and by.
        while left := self.left_over():
            if time.monotonic() > end:
                for number in left:
                    os.kill(number, signal.SIGKILL)
            time.sleep(_POLL_S)

    def left_over(self) -> list[int]:
        """Living processes of this federation, where the system shows environments in /proc; else none."""
        mark, found = f"{_MARK}={self._mark}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def _start_coordinator(self) -> None:
        if self.certificates is None:
            self.certificates = make_certificates(self.folder / "certificates", ["localhost", _HOST])
        port = free_port()
        self._address = f"{_HOST}:{port}"
        home = self.folder / "home"
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{self._address}"\n'
            f"root-certificates = {json.dumps(str(self.certificates.authority))}\n"
        )
        self._start(
            "coordinator", "coordinator", "coordinator", "--host", _HOST, "--port", str(port),
            "--ssl-certfile", str(self.certificates.certificate), "--ssl-keyfile", str(self.certificates.key),
            "--ssl-ca-certfile", str(self.certificates.authority), "--enable-supernode-auth",
        )  # fmt: skip
        self._wait_for(lambda: _listens(port), "coordinator", f"coordinator: expected it to listen on port {port}")

    def _start(self, name: str, log: str, service: str, *arguments: str) -> None:
        self._log_names[name] = log
        with open(self.logs / f"{log}.log", "wb") as file:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", _LAUNCH, service, *arguments],
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=self._environment(),
                start_new_session=True,  # Ctrl+C reaches the owner alone, who then ends them in order
            )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        paths = [str(Path(errors.__file__).parents[1]), *filter(None, sys.path)]
        own = {_MARK: self._mark, _RESULTS: str(self.results), "FLWR_HOME": str(self.folder / "home")}
        own[OWNER] = str(os.getpid())
        return {**os.environ, **QUIET, **own, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}

    def _steer(self, *arguments: str) -> str:
        command = [sys.executable, "-m", _LAUNCH, "steer", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment(), timeout=self.patience_s)
        if done.returncode:
            raise ProtocolError(
                f"coordinator: expected flwr {' '.join(arguments[:2])} to succeed, got "
                f"{' '.join((done.stderr or done.stdout).split())[-500:]!r}. {self._see('coordinator')}"
            )
        return done.stdout

    def _has_finished(self, number: str) -> bool:
        (run,) = json.loads(self._steer("list", "here", "--run-id", number, "--format", "json"))["runs"]
        return str(run["status"]).startswith("finished")

    def _is_let_in(self, name: str) -> bool:
        """Flower says so in the node's own log."""
        return _LET_IN in self.log(name)

    def _wait_for(self, ready: Callable[[], bool], name: str, expected: str) -> None:
        end = time.monotonic() + self.patience_s
        while not ready():
            ended = self.processes[name].poll() is not None
            if ended or time.monotonic() > end:
                got = "its process ended" if ended else f"nothing within {self.patience_s:g} s"
                raise ProtocolError(f"{expected}, got: {got}. {self._see(name)}")
            time.sleep(_POLL_S)

    def _see(self, name: str) -> str:
        """The last lines of a log, and where it is."""
        said = " ".join(_COLOURS.sub("", self.log(name)).split())
        return f"Its log ends: {said[-_TAIL:]!r}. See {self.logs / self._log_names[name]}.log."


def free_port() -> int:
    """A port of this machine that nobody listens on; another process may take it before it is used."""
    with socket.socket() as one:
        one.bind((_HOST, 0))
        return int(one.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1.0)
        return one.connect_ex((_HOST, port)) == 0


def app_project() -> str:
    """The `pyproject.toml` of the app that `flwr run` submits: it has no code, but names the apps of this library."""
    told = "".join(f'{key} = ""\n' for key in ("job", "settings"))
    numbers = "least-members = 1\ntimeout-s = 60.0\npatience-s = 60.0\n"
    return (
        f'[project]\nname = "unlearn-federated"\nversion = "1.0.0"\nlicense = "MIT"\ndependencies = []\n'
        '[tool.flwr.app]\npublisher = "unlearn"\n[tool.flwr.app.components]\n'
        f'serverapp = "{_APPS}:server_app"\nclientapp = "{_APPS}:client_app"\n[tool.flwr.app.config]\n{told}{numbers}'
    )
