"""What a member's node runs for each message, whatever app it was sent: the `client_app` of the installed library."""

from __future__ import annotations

import sys
from typing import Any

from unlearn.errors import InputError

#: What to import before a process is forked to answer.
PRELOADED = (
    "flwr.supernode.cli.flwr_clientapp",
    "unlearn.privacy.federated.flower.own_app",
    "unlearn.privacy.federated.flower.apps",
)


def run_own_app(arguments: list[str]) -> None:
    """Answer one message; runs in a process of its own and ends it.

    Args:
        arguments: of Flower's command `flwr-clientapp`.
    """
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp
    from flwr.supernode.runtime import run_clientapp

    from unlearn.privacy.federated.flower.apps import client_app

    replace_attribute(run_clientapp, "get_load_client_app_fn", lambda **ignored: lambda *which: client_app)
    replace_attribute(run_clientapp, "install_from_fab", lambda *content, **ignored: None)
    sys.argv = ["flwr-clientapp", *arguments]
    flwr_clientapp()


def replace_attribute(owner: Any, name: str, value: Any) -> None:
    """Replace a part of Flower; refuses a version of it that has no such part."""
    if not hasattr(owner, name):
        raise InputError(
            f"flwr: expected {owner.__name__}.{name} as in version 1.41, got none. Install the version that "
            "requirements-extras.lock names."
        )
    setattr(owner, name, value)
