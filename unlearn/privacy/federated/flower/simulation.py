"""The same apps in Flower's simulation, where Ray runs the members."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.checks import require_distinct, require_package
from unlearn.errors import ProtocolError, said
from unlearn.privacy.federated.flower.launch import QUIET
from unlearn.privacy.federated.flower.members import Member, Settings, as_json, as_settings, named, run_job

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid


def simulate(
    job: str,
    settings: Settings,
    members: Sequence[Member],
    folder: str | Path,
    timeout_s: float = 60.0,
    n_cpus: int = 2,
) -> Path:
    """Run a job in Flower's simulation.

    Members share one machine and its user, so this shows what a job does, not that members are safe from each other.

    Args:
        job: "module:function" of a `Job`.
        settings: what the job and the members' factories are told.
        members: who takes part.
        folder: for the results; must not exist.
        timeout_s: how long members may take for one answer.
        n_cpus: how many members answer at once.

    Returns:
        The folder.

    Raises:
        InputError: two members of one name, no such job.
        MissingPackageError: Flower or Ray is not installed.
        UnlearnError: what the job raises.
    """
    for package in ("flwr", "ray"):
        require_package("simulate", package, '"unlearn[federated]"')
    require_distinct("federation", [one.name for one in members], "member")
    named("job", job)
    told = as_settings(as_json(settings))
    os.environ.update(QUIET)  # before Flower is imported
    import ray
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    from unlearn.privacy.federated.flower.apps import client_app_of
    from unlearn.privacy.federated.flower.channel import FlowerChannel

    everyone = tuple(members)

    def member_of(context: Context) -> Member:
        return everyone[int(context.node_config["partition-id"])]

    app = ServerApp()
    came: list[Path | BaseException] = []

    @app.main()
    def coordinate(grid: Grid, context: Context) -> None:
        try:
            channel = FlowerChannel.meet(grid, len(everyone), timeout_s, timeout_s)
            # Nodes of a simulation have random numbers: members are in the order given.
            channel = FlowerChannel(grid, {one.name: channel.node(one.name) for one in everyone}, timeout_s)
            came.append(run_job(job, channel, told, Path(folder)))
        except BaseException as error:
            came.append(error)

    paths = os.environ.get("PYTHONPATH")
    try:
        run_simulation(
            app, client_app_of(member_of, lambda context: told), len(everyone),
            backend_config={
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                "init_args": {"num_cpus": n_cpus, "log_to_driver": False, "include_dashboard": False},
            },
        )  # fmt: skip
    except Exception as error:
        raise ProtocolError(f"simulation: expected Flower's to end well, got {said(error)}.") from error
    finally:
        ray.shutdown()
        # Flower sets it for Ray's processes and leaves it.
        os.environ.pop("PYTHONPATH", None)
        if paths is not None:
            os.environ["PYTHONPATH"] = paths
    result = came[0] if came else ProtocolError("simulation: expected a result, got none.")
    if isinstance(result, BaseException):
        raise result
    return result
