"""The two apps that Flower runs: `client_app` at each member, `server_app` at the coordinator.

A member's `Party` is built anew for every message, as Flower starts a process for each. What it keeps lies in the
context's state meanwhile, which Flower holds in the memory of the member's own node and never sends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unlearn.checks import require_package
from unlearn.errors import InputError, UnlearnError
from unlearn.privacy.federated.flower.channel import HELLO, PROTOCOL, REFUSAL, TASK, FlowerChannel, as_record, of_record
from unlearn.privacy.federated.flower.members import Member, Settings, as_settings, run_job
from unlearn.privacy.federated.messages import Payload, as_bytes, as_text, pack, unpack
from unlearn.privacy.federated.party import ABORT
from unlearn.store import write

require_package("unlearn.privacy.federated.flower", "flwr", '"unlearn[federated]"')

from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

#: Where the coordinator's results go: a folder, named by an environment variable that members never see.
RESULTS = "UNLEARN_FEDERATED_RESULTS"
#: What a run is told.
JOB, SETTINGS, LEAST, TIMEOUT, PATIENCE = "job", "settings", "least-members", "timeout-s", "patience-s"
#: Key of the node's configuration: the file that describes the member.
MEMBER = "member"

_KEPT = "kept"
logger = logging.getLogger(__name__)


def client_app_of(member_of: Callable[[Context], Member], settings_of: Callable[[Context], Settings]) -> ClientApp:
    """A member's app.

    Args:
        member_of: who this node is.
        settings_of: what the run's settings are.
    """
    app = ClientApp()

    @app.query()
    def asked(message: Message, context: Context) -> Message:
        try:
            body = pack(_answer(message, context, member_of(context), settings_of))
            return Message(as_record(body, {}), reply_to=message)
        except UnlearnError as error:
            reason = str(error)
            logger.warning("refused: %s", reason)
        except Exception as error:
            # Messages of other libraries may quote data: neither the coordinator nor the log gets them.
            reason = "failed; see its own log"
            logger.error("failed: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        return Message(as_record(b"", {REFUSAL: reason}), reply_to=message)

    return app


def _answer(message: Message, context: Context, member: Member, settings_of: Callable[[Context], Settings]) -> Payload:
    body, texts = of_record(message.content)
    task, asked = str(texts.get(TASK)), unpack(body)
    if task == HELLO:
        return {"name": as_bytes(member.name), "version": as_bytes(PROTOCOL)}
    if task == ABORT:
        logger.warning("%s: the coordinator ends the job: %s", member.name, as_text(asked.get("reason", as_bytes(""))))
    party = member.build(settings_of(context))
    if _KEPT in context.state:
        party.kept.update(unpack(bytes(context.state.array_records[_KEPT][_KEPT].data)))
    if task == ABORT and ABORT not in party.handlers:
        return {}
    try:
        return party.answer(task, asked)
    finally:
        member.keep(party.kept)
        if member.keeps is None:
            kept = pack(party.kept)
            array = Array(dtype="uint8", shape=(len(kept),), stype="bytes", data=kept)
            context.state[_KEPT] = ArrayRecord({_KEPT: array})


def _own_member(context: Context) -> Member:
    _log_to(logging.StreamHandler(sys.stderr))
    path = context.node_config.get(MEMBER)
    if path is None:
        raise InputError(f"--node-config: expected {MEMBER}=PATH, got none. Name the file that describes the member.")
    return Member.read(str(path))


def _log_to(handler: logging.Handler) -> None:
    """Flower sets up its own log alone."""
    log = logging.getLogger("unlearn")
    if not log.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def run_of(context: Context) -> dict[str, Any]:
    """What a run is told, with its settings read."""
    told = dict(context.run_config)
    return {**told, SETTINGS: as_settings(str(told.get(SETTINGS, "{}")))}


client_app = client_app_of(_own_member, lambda context: run_of(context)[SETTINGS])
server_app = ServerApp()


@server_app.main()
def _coordinate(grid: Grid, context: Context) -> None:
    folder = Path(os.environ.get(RESULTS, "federated_results")) / str(context.run_id)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The SuperLink drops what its apps say.
    _log_to(logging.FileHandler(folder.with_suffix(".log")))
    try:
        told = run_of(context)
        channel = FlowerChannel.meet(grid, int(told[LEAST]), float(told[TIMEOUT]), float(told[PATIENCE]))
        logger.info("%s begins with %s", told[JOB], ", ".join(channel.members))
        run_job(str(told[JOB]), channel, told[SETTINGS], folder)
        logger.info("results are in %s", folder)
    except UnlearnError as error:
        logger.error("ended without a result: %s", error)
        failed(folder, type(error).__name__, str(error))
        raise
    except BaseException as error:
        logger.error("failed: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        failed(folder, "", type(error).__name__)
        raise


def failed(folder: Path, kind: str, message: str) -> None:
    """Leave a note beside where the results would be, for whoever waits for them."""
    write(folder.with_suffix(".failed"), json.dumps({"kind": kind, "message": message}).encode())
