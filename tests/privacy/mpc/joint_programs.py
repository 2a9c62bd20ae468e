"""Programs that tests run in processes of their own; some break what programs promise."""

from __future__ import annotations

import asyncio
import os
import signal

import numpy as np

from unlearn.errors import InputError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, Public
from unlearn.privacy.mpc.programs.totals import total


async def products(context: Context, public: Public) -> Payload:
    """A product of two parties' numbers, which takes messages besides those of the inputs."""
    shared = context.shared("values", context.mpc.SecInt(64))
    first, second = (shared[name] for name in context.names[:2])
    return {"sums": np.array([int(await context.reveal(context.mpc.np_sum(first * second)))])}


async def in_the_clear(context: Context, public: Public) -> Payload:
    """Sends its input as it is, which a test of views must notice."""
    own = context.inputs[context.name]["values"].astype(object)
    await context.mpc.transfer(own)
    return {}


async def killed(context: Context, public: Public) -> Payload:
    """One party's machine fails between sharing and opening."""
    context.shared("values", context.mpc.SecInt(64))
    await asyncio.sleep(0.3)
    if context.name == public["who"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return await total(context, public)


async def stuck(context: Context, public: Public) -> Payload:
    """One party sends nothing more, and does not end."""
    if context.name == public["who"]:
        await asyncio.sleep(60)
    return await total(context, public)


async def refused(context: Context, public: Public) -> Payload:
    """One party finds fault with its own input after the greeting."""
    if context.name == public["who"]:
        raise InputError("values: expected at most 12, got 4711.")
    return await total(context, public)


async def refused_by_all(context: Context, public: Public) -> Payload:
    """Everybody finds fault with a public parameter at the same moment."""
    raise InputError("step: expected a positive number, got another.")
