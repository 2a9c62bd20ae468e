"""Programs that tests run in processes of their own; some break what programs promise."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys

import numpy as np

from unlearn.errors import InputError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import Context, Public
from unlearn.privacy.mpc.peers import PlainNumbers
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


async def guessed(context: Context, public: Public) -> Payload:
    """Whether a guess of somebody's number explains all that this party sees of a comparison of it with zero.

    The comparison opens a secret times a random number. If that is opened as it is, all shares of it lie on the product
    of two lines, of which a party knows a point each: a right guess fits them, and any other does not.
    """
    mpc, kind = context.mpc, context.mpc.SecInt(64)
    thresha = sys.modules["mpyc.thresha"]
    seen: list = []
    randoms, recombine = mpc._np_randoms, thresha.np_recombine

    def keeping_randoms(*args):
        drawn = randoms(*args)
        seen.append(("own share", int(drawn.value[0])))
        return drawn

    def keeping_points(field, points):
        seen.append(("shares", {at: int(one[0]) for at, one in points}))
        return recombine(field, points)

    (secret,) = context.shared("secret", kind).values()
    own, modulus, x = int((await mpc.gather(secret)).value[0]), int(kind.field.modulus), context.index + 1
    mpc._np_randoms, thresha.np_recombine = keeping_randoms, keeping_points
    try:
        await mpc.np_is_zero_public(secret)
    finally:
        mpc._np_randoms, thresha.np_recombine = randoms, recombine
    factor = next(one for what, one in seen if what == "own share")
    shares = next(one for what, one in seen if what == "shares")
    product = 0
    for at, share in shares.items():
        others = [other for other in shares if other != at]
        above, below = math.prod(-other for other in others), math.prod(at - other for other in others)
        product += share * above * pow(below, -1, modulus)

    def fits(guess: int) -> bool:
        hidden, slope = product * pow(guess, -1, modulus), pow(x, -1, modulus)
        # Each line goes through its value at 0 and one's own share at x.
        return all(
            ((guess + (own - guess) * slope * at) * (hidden + (factor - hidden) * slope * at) - share) % modulus == 0
            for at, share in shares.items()
        )

    return {"fits": np.array([fits(guess) for guess in public["guesses"]], dtype=np.int64)}


async def garbled(context: Context, public: Public) -> Payload:
    """One party sends bytes that are no numbers."""
    if context.name == public["who"]:
        PlainNumbers.dumps = staticmethod(lambda values: bytes(5))
    return await total(context, public)


async def numbers(context: Context, public: Public) -> Payload:
    """Comparisons and a division of single numbers, and of several at a time."""
    kind = context.mpc.SecInt(64)
    shared = context.shared("values", kind)
    one, other = (shared[name][0] for name in context.names[:2])
    zero = context.mpc.SecFld(2**61 - 1)(7)
    both = [one < other, one == other, other < one]
    found = [int(await context.reveal(value)) for value in both]
    found.append(int(await context.reveal(1 / zero * zero)))
    found.append(int((await context.reveal(shared[context.names[0]] == shared[context.names[1]]))[0]))
    return {"found": np.array(found)}
