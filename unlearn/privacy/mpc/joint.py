"""`compute`: a joint computation among parties in processes of their own, over sockets with mutual TLS.

Trust: parties follow the protocol (semi-honest), and at most `threshold` of them put what they see together; then
nobody learns of another's input more than the result tells. A party that deviates can make results wrong; what it can
not do is pose as another, run code at another, or leave others waiting for longer than they agreed to.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from unlearn import errors
from unlearn.checks import require_package
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload, as_text, pack, unpack
from unlearn.privacy.mpc.children import Children
from unlearn.privacy.mpc.context import Public, require_parties
from unlearn.privacy.mpc.credentials import make_credentials
from unlearn.privacy.mpc.joint_party import _META, _RECEIVED, Settings, load_program

_MODULE = "unlearn.privacy.mpc.joint_party"


@dataclass(frozen=True)
class JointOptions:
    """How parties compute together.

    Attributes:
        threshold: so many parties together learn nothing; None takes the largest below half of them.
        timeout_s: how long the whole may take.
        record: whether every byte that a party receives is kept, for audits.
    """

    threshold: int | None = None
    timeout_s: float = 120.0
    record: bool = False

    def of(self, n_parties: int) -> int:
        """The threshold for so many parties.

        Raises:
            InputError: it is not at least one and below half.
        """
        largest = (n_parties - 1) // 2
        chosen = largest if self.threshold is None else self.threshold
        if not 1 <= chosen <= largest:
            raise InputError(f"threshold: expected 1 to {largest} for {n_parties} parties, got {chosen}.")
        return chosen


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        results: what each party learned.
        n_bytes: what each party sent.
        seconds: of the slowest party, from when all were connected.
        seconds_in_all: with starting the processes.
        received: by party and sender, every byte that came, if recorded.
    """

    results: dict[str, Payload]
    n_bytes: dict[str, int]
    seconds: float
    seconds_in_all: float
    received: dict[str, dict[str, bytes]] = field(default_factory=dict, repr=False)


def compute(
    program: str, inputs: Mapping[str, Payload], public: Public | None = None, options: JointOptions | None = None
) -> Outcome:
    """Run a program among parties, each in a process of its own that gets its own input alone.

    Args:
        program: "module:function" of a `Program`, which the processes can import.
        inputs: private arrays by party; at least three parties, of which some may have none.
        public: parameters, which all parties see.
        options: by default the largest threshold, 120 s.

    Raises:
        InputError: fewer than three parties, no such program, or an input that its owner refuses.
        ProtocolError: a party vanished, or has agreed to something else; or the time is over.
        MissingPackageError: MPyC is not installed.
    """
    with Parties(program, inputs, public, options) as parties:
        return parties.outcome()


class Parties:
    """Processes of a joint computation, from `with` to its end; `outcome` waits for it.

    Attributes:
        processes: by party.

    Args: see `compute`.
    """

    def __init__(
        self,
        program: str,
        inputs: Mapping[str, Payload],
        public: Public | None = None,
        options: JointOptions | None = None,
    ) -> None:
        require_package("multiparty computation", "mpyc", '"unlearn[mpc]"')
        self.names = require_parties(list(inputs))
        load_program(program)
        self._options = options or JointOptions()
        self._threshold = self._options.of(len(self.names))
        self._program, self._inputs, self._public = program, dict(inputs), _as_json(public or {})
        self._session, self._start = secrets.token_hex(16), time.perf_counter()
        self._children = Children("unlearn-joint-", self._options.timeout_s)
        self.processes = self._children.processes

    def __enter__(self) -> Self:
        try:
            made = make_credentials(self._children.folder, self.names)
            for at, name in enumerate(self.names):
                own = made[name]
                told = self.settings(at, (str(own.authority), str(own.certificate), str(own.key)))
                self._children.start(name, _MODULE, {"settings": asdict(told)}, pack(self._inputs[name]))
            started = {name: self._children.hear(name)[0] for name in self.names}
            if failed := {name: head for name, head in started.items() if head.get("error")}:
                raise _cause(failed)
            for name in self.names:
                self._children.tell(name, {"addresses": {key: head["address"] for key, head in started.items()}})
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def settings(self, at: int, credentials: tuple[str, str, str]) -> Settings:
        """What party `at` is told."""
        return Settings(
            self.names, at, self._program, self._public, self._session, self._threshold, self._options.timeout_s,
            credentials, self._options.record,
        )  # fmt: skip

    def outcome(self) -> Outcome:
        """Wait for every party.

        Raises:
            InputError, ProtocolError: see `compute`; the message says what each party saw.
        """
        said: dict[str, tuple[dict[str, Any], bytes]] = {}
        threads = [
            threading.Thread(target=lambda name=name: said.update({name: self._children.hear(name)}))
            for name in self.names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failed = {name: head for name, (head, _) in said.items() if head.get("error")}
        if failed:
            raise _cause(failed)
        results, n_bytes, received, seconds = {}, {}, {}, 0.0
        for name, (_, body) in said.items():
            payload = unpack(body)
            meta = json.loads(as_text(payload.pop(_META)))
            n_bytes[name] = sum(meta["n_bytes"].values())
            seconds = max(seconds, meta["seconds"])
            kept = [key for key in payload if key.startswith(_RECEIVED)]
            received[name] = {key.removeprefix(_RECEIVED): payload.pop(key).tobytes() for key in kept}
            results[name] = payload
        return Outcome(
            {name: results[name] for name in self.names}, n_bytes, seconds, time.perf_counter() - self._start, received
        )

    def close(self) -> None:
        """End every process."""
        self._children.close()


def _cause(failed: Mapping[str, Mapping[str, Any]]) -> errors.UnlearnError:
    """One error of all; what a party refused of its own input comes first, then who ended without a word."""
    refused = [name for name, head in failed.items() if head.get("kind") not in (None, ProtocolError.__name__)]
    order = [*refused, *(name for name in failed if name not in refused)]
    told = "; ".join(f"{name}: {failed[name]['error'].rstrip('.')}" for name in order)
    kind = InputError if refused else ProtocolError
    return kind(f"joint computation ended without a result. {told}.")


def _as_json(public: Public) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(public))))
    except (TypeError, ValueError) as error:
        raise InputError(f"public: expected parameters that JSON can hold, got others ({error}).") from None
