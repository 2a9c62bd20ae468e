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

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from unlearn.checks import require_choice, require_package
from unlearn.errors import InputError

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
    service()


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

    _replace(extensions, "get_middleware", lambda: (Middleware(NearOnly),))
    sys.argv += ["--disable-runtime-dependency-installation"]
    flower_superlink()


def _member() -> None:
    from flwr.supernode import start_client_internal
    from flwr.supernode.cli.flower_supernode import flower_supernode

    # A node looks for messages every three seconds, which a protocol of several rounds would mostly wait for.
    _replace(
        start_client_internal, "time", SimpleNamespace(time=time.time, sleep=lambda s: time.sleep(min(s, _LOOK_S)))
    )
    # A node starts its app by the name of a command, which is found here first.
    with tempfile.TemporaryDirectory(prefix="unlearn-member-") as folder:
        command = Path(folder, "flwr-clientapp")
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {__spec__.name} client-app "$@"\n')
        command.chmod(0o700)
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
        flower_supernode()


def _own_app() -> None:
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
    from flwr.supernode.runtime import run_clientapp

    from unlearn.privacy.federated.flower.apps import client_app

    _replace(run_clientapp, "get_load_client_app_fn", lambda **ignored: lambda *which: client_app)
    _replace(run_clientapp, "install_from_fab", lambda *content, **ignored: None)
    flwr_clientapp()


def _steer() -> None:
    from flwr.cli.app import app

    app()


def _replace(module: Any, name: str, value: Any) -> None:
    if not hasattr(module, name):
        raise InputError(
            f"flwr: expected {module.__name__}.{name} as in version 1.41, got none. Install the version that "
            "requirements-extras.lock names."
        )
    setattr(module, name, value)


#: Each with the name of Flower's command, by which it knows itself.
_SERVICES = {
    "coordinator": ("flower-superlink", _coordinator),
    "member": ("flower-supernode", _member),
    "client-app": ("flwr-clientapp", _own_app),
    "steer": ("flwr", _steer),
}

if __name__ == "__main__":
    main(sys.argv[1:])
