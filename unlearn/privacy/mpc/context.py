"""What a program of a joint computation sees: who takes part, secret-shared inputs, and how a result is opened.

A program is `async def program(context, public) -> Payload`. Every party runs the same one, and it returns what this
party may know. Arithmetic on shared values is MPyC's: https://mpyc.readthedocs.io.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import require_distinct, require_package
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated.messages import Payload

#: Public parameters of a program, as JSON can hold them; every party must have the same.
Public = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
#: Masks hide a value up to a probability of two to minus this many.
SECURITY_BITS = 64


@dataclass(frozen=True)
class Context:
    """A party's view of a joint computation.

    Attributes:
        names: of all parties, in the order that all agree on.
        index: which of them this is.
        mpc: MPyC's runtime.
        inputs: private arrays by party: this party's own alone, or in a rehearsal those of all.
        shapes: of the private arrays of every party, which are public.
    """

    names: tuple[str, ...]
    index: int
    mpc: Any = field(repr=False)
    inputs: Mapping[str, Payload] = field(repr=False)
    shapes: Mapping[str, Shapes]

    @property
    def name(self) -> str:
        return self.names[self.index]

    def owners(self, array: str) -> tuple[str, ...]:
        """Who brings an array of this name."""
        return tuple(name for name in self.names if array in self.shapes[name])

    def shared(
        self, array: str, kind: Any, encode: Callable[[NDArray], NDArray] = lambda values: values
    ) -> dict[str, Any]:
        """Share every party's array of this name; nobody sees more than random numbers of another's.

        Args:
            array: its name; parties without it share nothing.
            kind: a secure type of MPyC, such as `context.mpc.SecInt(64)`.
            encode: applied by the owner, from the array to whole numbers of any size in the same shape.

        Returns:
            By owner, a secure array of the announced shape.
        """
        shared = {}
        for owner in self.owners(array):
            shape = self.shapes[owner][array]
            if owner in self.inputs:
                own = np.asarray(encode(self.inputs[owner][array]))
                values = np.array([_number(one) for one in own.ravel()], dtype=object).reshape(shape)
            else:
                values = np.zeros(shape, dtype=object)  # its place is taken by the owner's shares
            ready = kind.array(values)
            alone = len(self.mpc.parties) == 1
            shared[owner] = ready if alone else self.mpc.input(ready, senders=self.names.index(owner))
        return shared

    async def reveal(self, value: Any, to: Sequence[str] | None = None) -> Any:
        """Open a shared value.

        Args:
            value: a secure number or array.
            to: who learns it; by default all. Every party must ask with the same names.

        Returns:
            Whole numbers or floats, in the value's shape; None where this party does not learn it.
        """
        receivers = self.names if to is None else tuple(to)
        alone = len(self.mpc.parties) == 1
        opened = await self.mpc.output(value, None if alone else [self.names.index(name) for name in receivers])
        return opened if alone or self.name in receivers else None


Program = Callable[[Context, Public], Awaitable[Payload]]


def rehearse(program: Program, inputs: Mapping[str, Payload], public: Public | None = None) -> Payload:
    """Run a program in this process alone, with everybody's input in it: for tests and for finding out what it costs.

    Nothing is hidden from anybody. Values are those of a real run; only sharing and sending are left out.

    Args:
        program: see the module.
        inputs: private arrays by party.
        public: parameters.

    Returns:
        What the program gives.

    Raises:
        InputError: no inputs, NaN or infinity.
        MissingPackageError: MPyC is not installed.
    """
    names, mpc = require_parties(list(inputs), least=1), runtime()
    for name, payload in inputs.items():
        require_finite_input(name, payload)
    shapes = {name: {key: value.shape for key, value in payload.items()} for name, payload in inputs.items()}
    return mpc.run(_awaited(program(Context(names, 0, mpc, dict(inputs), shapes), dict(public or {}))))


def runtime(parties: int = 1, index: int = 0, threshold: int = 0) -> Any:
    """MPyC's runtime, which is one per process.

    MPyC reads the command line of whatever imports it and sends its log to the standard output; neither happens here.

    Raises:
        InputError: loaded for another number of parties, or with `MPYC_NOPRSS`.
        MissingPackageError: MPyC is not installed.
    """
    require_package("multiparty computation", "mpyc", '"unlearn[mpc]"')
    if "mpyc.runtime" not in sys.modules:
        command, root = sys.argv, logging.getLogger()
        handlers, policy = list(root.handlers), asyncio.get_event_loop_policy()
        several = ["-M", str(parties), "-I", str(index), "-T", str(threshold)] if parties > 1 else []
        sys.argv = [command[0], "--no-log", "--no-uvloop", "-K", str(SECURITY_BITS), *several]
        try:
            importlib.import_module("mpyc.runtime")
        finally:
            sys.argv, root.handlers[:] = command, handlers
            asyncio.set_event_loop_policy(policy)
    mpc = sys.modules["mpyc.runtime"].mpc
    if mpc.options.no_prss:
        raise InputError("MPYC_NOPRSS: expected it unset, for products are hidden by what it turns off. Unset it.")
    if "output" not in vars(mpc):
        _hide_products(mpc)
    if len(mpc.parties) != parties:
        raise InputError(
            f"parties: expected {len(mpc.parties)}, for which MPyC was loaded in this process, got {parties}. Use a "
            "process of its own."
        )
    return mpc


def _hide_products(mpc: Any) -> None:
    """Open products of shares only with a sharing of zero added.

    Shares of a product lie on the product of two polynomials, whose factors with one's own shares tell both. MPyC 0.11
    adds such a sharing in small fields alone, and every comparison opens a secret times a random number in a large one.
    """
    plain, thresha, field = mpc.output, sys.modules["mpyc.thresha"], sys.modules["mpyc.finfields"]

    def output(x: Any, receivers: Any = None, threshold: int | None = None, raw: bool = False) -> Any:
        if threshold is not None and threshold > mpc.threshold:
            several = x if isinstance(x, list) else [x]
            kind = type(several[0])
            if issubclass(kind, field.FiniteFieldArray):
                x = x + _zeros(thresha.np_pseudorandom_share_0, kind.field, x.size).reshape(x.shape)
            elif issubclass(kind, field.FiniteFieldElement):
                zeros = _zeros(thresha.pseudorandom_share_zero, kind, len(several))
                hidden = [one + zero for one, zero in zip(several, zeros, strict=True)]
                x = hidden if isinstance(x, list) else hidden[0]
        return plain(x, receivers, threshold, raw)

    def _zeros(share_zero: Callable[..., Any], kind: Any, n: int) -> Any:
        return share_zero(kind, len(mpc.parties), mpc.pid, mpc.prfs(kind.order), mpc._prss_uci(), n)

    mpc.output = output


def require_parties(names: Sequence[str], least: int = 3) -> tuple[str, ...]:
    """Names of parties, all different.

    Raises:
        InputError: two alike, or fewer than `least`.
    """
    if len(names) < least:
        raise InputError(
            f"parties: expected at least {least}, so that no single one can put shares together, got {len(names)}. "
            "Parties that only compute, with an empty input, count."
        )
    require_distinct("parties", list(names), "party")
    return tuple(names)


def require_finite_input(name: str, payload: Payload) -> None:
    """Refuse an input before anything of it is shared.

    Raises:
        InputError: not numbers, NaN or infinity.
    """
    for key, value in payload.items():
        real = np.issubdtype(value.dtype, np.integer) or np.issubdtype(value.dtype, np.floating)
        if not real or not np.isfinite(value).all():
            raise InputError(
                f"{name}: expected finite numbers in {key!r}, got others. Fill or leave out what is missing."
            )


def _number(value: Any) -> int | float:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, int | float):
        raise ProtocolError(f"input: expected whole numbers or floats, got {type(plain).__name__}.")
    return plain


async def _awaited(program: Awaitable[Payload]) -> Payload:
    return await program
