"""Flower's services, started so that a member runs no code but its own, and strangers steer nothing.

    python -m unlearn.privacy.federated.flower.launch coordinator [arguments of flower-superlink]
    python -m unlearn.privacy.federated.flower.launch member [arguments of flower-supernode]
    python -m unlearn.privacy.federated.flower.launch steer [arguments of flwr]

What Flower 1.41 does on its own, and what is different here:

- `flwr run` sends an app to every member, whose nodes execute the code in it. Here a node runs the `client_app` of the
  installed library whatever is sent, which reads settings and messages alone.
- One port carries the Fleet API, by which members come, and the Control API, by which nodes are registered and runs
  submitted. The latter asks nobody who they are, so that anyone who reaches the port could register a key. Here what is
  not Fleet is answered to processes of the same machine alone. A proxy on that machine would undo this.
- Apps' dependencies are installed from a package index by `uv`, use is reported, and new versions are looked for: all
  three are off here.

The gRPC options of the services (`--fleet-api-address` and others) are deprecated since the Fleet API is HTTP; `--host`
and `--port` count.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from unlearn.checks import require_choice, require_package
from unlearn.privacy.federated.flower.members import Member
from unlearn.privacy.federated.flower.own_app import PRELOADED, replace_attribute, run_own_app

#: What is off in every process of Flower; read when it is imported.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
#: Seconds between two looks for work, of the process that starts a member's app; a second by default.
_POLL = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
#: Seconds between two looks of a node for messages.
_LOOK_S = 0.5
#: Variable with the number of the process without which a service is not to go on.
OWNER = "UNLEARN_FEDERATION_OWNER"
#: Variable that names the module of the member's factory, which is imported early, too.
_FACTORY = "UNLEARN_FEDERATED_FACTORY"
_SELF = "unlearn.privacy.federated.flower.launch"
_FLEET = "/v1/fleet/"
_NEAR = ("127.0.0.1", "::1")
_NO = "unlearn: this path is answered to processes of the coordinator's own machine alone"


def main(arguments: list[str]) -> None:
    """Start one of the services; ends when it ends."""
    require_choice("service", arguments[0] if arguments else "", _SERVICES)
    os.environ.update(QUIET)
    for name, value in _POLL.items():
        os.environ.setdefault(name, value)
    require_package("unlearn.privacy.federated.flower", "flwr", '"unlearn[federated]"')
    # Services start one another by name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command, service = _SERVICES[arguments[0]]
    sys.argv = [command, *arguments[1:]]
    owner = os.environ.get(OWNER)
    if owner is not None and arguments[0] in ("coordinator", "member"):
        threading.Thread(target=_end_with, args=(int(owner),), daemon=True).start()
    service()


def _end_with(owner: int) -> None:
    """End when the process that started this one does, however it ends: a killed one cleans nothing up."""
    while os.getppid() == owner:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


class NearOnly:
    """ASGI middleware that answers strangers on the Fleet API alone."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Callable[..., Awaitable[None]]) -> None:
        near = scope["type"] == "lifespan" or (scope.get("client") or ("",))[0] in _NEAR
        # Dots and doubled slashes have no business in a path: Flower's are plain.
        if near or (scope.get("path", "").startswith(_FLEET) and ".." not in scope["path"]):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": _NO.encode()})


def _coordinator() -> None:
    from flwr.superlink import extensions
    from flwr.superlink.cli.flower_superlink import flower_superlink
    from starlette.middleware import Middleware

    replace_attribute(extensions, "get_middleware", lambda: (Middleware(NearOnly),))
    sys.argv += ["--disable-runtime-dependency-installation"]
    flower_superlink()


def _member() -> None:
    from flwr.supernode import start_client_internal
    from flwr.supernode.cli.flower_supernode import flower_supernode

    # The node's configuration names the member's file. A wrong one is told before anything starts.
    described = re.search(r"member=[\"']?([^\"']+)", " ".join(sys.argv))
    if described:
        os.environ[_FACTORY] = Member.read(described[1]).party.partition(":")[0]
    # A node looks for messages every three seconds, which a protocol of several rounds would mostly wait for.
    replace_attribute(
        start_client_internal, "time", SimpleNamespace(time=time.time, sleep=lambda s: time.sleep(min(s, _LOOK_S)))
    )
    # A node starts what looks for work by the name of a command, which is found here first.
    # A node that is killed leaves that folder, so it lies with Flower's own files where those have a place.
    home = os.environ.get("FLWR_HOME")
    with tempfile.TemporaryDirectory(prefix="unlearn-member-", dir=home) as folder:
        command = Path(folder, "flower-superexec")
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {_SELF} tasks "$@"\n')
        command.chmod(0o700)
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        flower_supernode()


def _tasks() -> None:
    from flwr.supercore.cli.flower_superexec import flower_superexec
    from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
    from flwr.supercore.superexec.executor.types import LaunchResult

    # Starting Python and importing torch for every message takes seconds. A process that has imported all of it, and
    # done nothing else, is forked instead. Whatever app is asked for, the member's own is run.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *filter(None, [os.environ.get(_FACTORY)])])

    def launch(self: Any, spec: Any) -> LaunchResult:
        arguments = ["--runtime-api-address", spec.runtime_api_address, "--token", spec.token]
        arguments += ["--insecure"] if spec.insecure else []
        if not spec.insecure and spec.root_certificates_path is not None:
            arguments += ["--root-certificates", spec.root_certificates_path]
        if spec.parent_pid is not None:
            arguments += ["--parent-pid", str(spec.parent_pid)]
        context.Process(target=run_own_app, args=(arguments,)).start()
        return LaunchResult.accepted()

    replace_attribute(SubprocessExecutor, "launch", launch)
    flower_superexec()


def _steer() -> None:
    from flwr.cli.app import app

    app()


#: Each with the name of Flower's command, by which it knows itself.
_SERVICES = {
    "coordinator": ("flower-superlink", _coordinator),
    "member": ("flower-supernode", _member),
    "tasks": ("flower-superexec", _tasks),
    "steer": ("flwr", _steer),
}

if __name__ == "__main__":
    main(sys.argv[1:])
