"""What the coordinator answers to whom."""

import asyncio

import pytest

from unlearn.errors import InputError
from unlearn.privacy.federated.flower.launch import NearOnly, main


def status(client: str, path: str, kind: str = "http") -> int | None:
    """Status of the answer to a request; 200 if it reaches the app."""
    said = []

    async def app(scope, receive, send):
        await send({"status": 200})

    async def send(message):
        said.append(message.get("status"))

    scope = {"type": kind, "path": path, "client": (client, 1)}
    asyncio.run(NearOnly(app)(scope, None, send))
    return said[0] if said else None


@pytest.mark.parametrize(
    "path", ["/v1/control/register-node", "/v1/control/start-run", "/v1/runtime/pull-messages", "/"]
)
def test_strangers_steer_nothing(path):
    assert status("192.0.2.7", path) == 403
    assert status("192.0.2.7", path, "websocket") is None
    assert status("127.0.0.1", path) == status("::1", path) == 200


@pytest.mark.parametrize(
    "path", ["/v1/fleet/../control/start-run", "/V1/control/start-run", "//v1/fleet/x", "/v1/fleet"]
)
def test_no_spelling_of_a_path_gets_around_it(path):
    assert status("192.0.2.7", path) == 403


def test_members_reach_the_fleet():
    assert status("192.0.2.7", "/v1/fleet/activate-node") == 200


@pytest.mark.parametrize("arguments", [[], ["other"]])
def test_an_unknown_service_is_refused(arguments):
    with pytest.raises(InputError, match="coordinator, member, steer, tasks"):
        main(arguments)
