"""A linear forecaster of many customers' loads, fitted and unlearnt without anyone seeing a sum of readings.

Columns Φ are public (calendar, weather). Then a load's coefficients are the sum of its customers' own,
`θ_b = Σ_{c in b} (Φ'Φ)⁻¹ Φ' a_b m_c`, which each customer's party computes alone and shares in whole steps. Sums of
shares are exact, so the condition of Φ does not magnify a rounding: a coefficient of K customers is K/2 steps off at
most. Parties keep their shares of each customer. To forget one, they leave its shares out: nothing can be taken away
that was never added, nor twice, and what is opened equals, to the last bit, what those who stay would have given alone.

Trust: parties are semi-honest, and `threshold` of them together learn of others no more than is opened. What is opened
tells: Φ is public, so coefficients tell `Φ'y_b`, a projection of the load. Coefficients before and after a removal
differ by those of who left; one customer alone is seen by its fitted load. Remedies: several leave at once
(`least_leaving`); or `opened` is false and `forecast` alone is opened, for the total of all loads or for fewer hours
than there are columns; or `noise`, of which every party adds a share, so that what is opened is differentially private
for each customer: one Gaussian mechanism an opening, which add up. Which customer is in which load, and who leaves, is
known to all parties, by the names they give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn.checks import FloatArray, as_floats, require_count, require_finite, require_shape
from unlearn.dp.noise import Grid
from unlearn.errors import InputError, ProtocolError, SingularHessianError
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.federated.noise import SharedNoise
from unlearn.privacy.mpc.context import Context, Public
from unlearn.privacy.mpc.programs.kept import Said, keep, take
from unlearn.privacy.mpc.programs.totals import in_steps

#: Fewest customers of a load whose coefficients are opened.
LEAST = 3


def own_coefficients(rows: FloatArray, series: FloatArray) -> FloatArray:
    """A customer's part of its load's coefficients: least squares of its own series, which stay with its party.

    >>> rows = np.stack([np.linspace(-1, 1, 50), np.ones(50)], axis=1)
    >>> own_coefficients(rows, np.stack([3 * rows[:, 0] + 2, rows[:, 0] + 1])).round(6).tolist()
    [[3.0, 2.0], [1.0, 1.0]]

    Args:
        rows: Φ, shape (n, D), best with columns of one size: steps are the same for all.
        series: `a_b m_c` of each customer, shape (K, n).

    Returns:
        Shape (K, D).

    Raises:
        InputError: wrong shape, NaN or infinity.
        SingularHessianError: rows do not determine coefficients.
    """
    rows, series = as_floats("rows", rows, ndim=2), as_floats("series", series, ndim=2)
    require_shape("series", series, (None, len(rows)))
    require_finite("rows", rows)
    require_finite("series", series)
    size = np.sqrt((rows**2).sum(axis=0))
    found, _, rank, _ = np.linalg.lstsq(rows / np.where(size > 0, size, 1), series.T, rcond=1e-11)
    if rank < rows.shape[1]:
        raise SingularHessianError(
            f"rows: expected {rows.shape[1]} columns that do not depend on each other, got rank {rank}. Take calendar "
            "columns once, not once a load."
        )
    parts: FloatArray = (found / size[:, None]).T
    return parts


async def fit(context: Context, public: Public) -> Payload:
    """Share every customer's coefficients, keep the shares and open the sum of each load.

    Each party brings `parts`, shape (its customers, D), of `own_coefficients`.

    Args:
        context: see `Context`.
        public: `run`, a name never used before, such as `secrets.token_hex(16)`; `customers`, names by party in the
            order of its parts; `loads`, by party the number of each one's load; `step` (by default 1e-12) and `largest`
            (1e6) of coefficients; `least` customers of a load, and
            besides those of any one party (3); `opened`, whether coefficients are (true); `noise`,
            with `clip`, the Euclidean norm that each customer's coefficients are cut to, `noise_multiplier`, σ over the
            clip of every opening, and `colluding` parties that know their shares of the noise (the threshold). With
            noise, steps are the clip over some 2³⁰.

    Returns:
        `theta`, shape (B, D), if opened; `load`, numbers of the B loads; `kept`, this party's shares, with `said` and
        `receipt`: keep them all.

    Raises:
        InputError: public parameters or a part of one's own out of range.
        ProtocolError: fewer than `least` customers of a load, other shapes, or a customer twice.
    """
    noise = _told_noise(context, public)
    step, most, encode = _rounding(public, noise)
    owners = context.owners("parts")
    customers, loads, holders = _places(context, public, owners)
    shapes = {context.shapes[name]["parts"][1:] for name in owners}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ProtocolError(f"parts: expected one number of columns at every party, got shapes {sorted(shapes)}.")
    # Shares of noise have less than 53 bits.
    bits = (most * len(customers) + (len(context.names) << 53 if noise else 0)).bit_length() + 2
    columns = next(iter(shapes))[0]
    least = require_count("least", public.get("least", LEAST))
    said = Said(_run(public), context.names, customers, loads, holders, str(step), bits, columns, least, noise)
    _require_company(said)
    shared = context.shared("parts", said.kind(context), encode)
    return await _finish(context, public, said, context.mpc.np_vstack(list(shared.values())))


async def remove(context: Context, public: Public) -> Payload:
    """Forget customers: leave their shares out and open the sums of those who stay.

    Each party brings what `fit` or an earlier `remove` gave it: see `kept_input`.

    Args:
        context: see `Context`.
        public: `run`, a new name; `receipt` of the kept shares; `customers`, names of who leaves; `least_leaving`,
            fewest who leave a load together (1); `opened` (true).

    Returns:
        As of `fit`. Destroy the shares that were kept before: with them, who left is still there.

    Raises:
        InputError: kept shares of one's own that are of another run.
        ProtocolError: a customer that is not among the kept ones, was never added or has left; fewer who leave a load
            together than agreed, or too few who stay.
    """
    said, shares = take(context, public.get("receipt"))
    leaving = [str(name) for name in public.get("customers", ())]
    unknown = [name for name in leaving if name not in said.customers]
    if unknown or not leaving or len(set(leaving)) < len(leaving):
        raise ProtocolError(
            f"customers: expected some of the {len(said.customers)} whose shares are kept, each once, got "
            f"{len(unknown)} of {len(leaving)} that are not among them. They were never added, or have left."
        )
    if (run := _run(public)) == said.run:
        raise InputError("run: expected a new name, got that of the kept shares. Draw one at random.")
    stays = np.array([name not in leaving for name in said.customers])
    gone = np.unique(np.array(said.loads)[~stays], return_counts=True)[1]
    if (gone < (least := require_count("least_leaving", public.get("least_leaving", 1)))).any():
        raise ProtocolError(
            f"customers: expected at least {least} who leave a load together, got fewer. Wait for more."
        )
    after = replace(
        said,
        run=run,
        customers=tuple(np.array(said.customers, dtype=object)[stays].tolist()),
        loads=tuple(np.array(said.loads)[stays].tolist()),
        holders=tuple(np.array(said.holders)[stays].tolist()),
    )
    if lost := sorted(set(said.loads) - set(after.loads)):
        raise ProtocolError(f"customers: expected some who stay in every load, got none in {len(lost)}.")
    _require_company(after)
    return await _finish(context, public, after, shares[np.flatnonzero(stays)])


async def forecast(context: Context, public: Public) -> Payload:
    """Open forecasts alone, of a model whose coefficients nobody has seen.

    Each party brings its kept shares, as to `remove`.

    Args:
        context: see `Context`.
        public: `receipt`; `rows`, φ of the hours, n times D numbers; `total`, whether loads are added up (true). Values
            of φ are rounded to 2⁻³².

    Returns:
        `forecast`, shape (n,) of the total or (n, B), and `load`.

    Raises:
        InputError: rows of other columns.
        ProtocolError: forecasts of single loads for as many independent hours as there are columns, which would tell
            the coefficients. Several calls together may tell them as well: count the hours over all calls.
    """
    said, shares = take(context, public.get("receipt"))
    rows = as_floats("rows", public.get("rows", ()), ndim=2)
    require_shape("rows", rows, (None, said.columns))
    require_finite("rows", rows)
    if said.noise:
        raise ProtocolError(
            "forecast: expected shares of a fit without noise, for forecasts carry none. Open the model."
        )
    whole = bool(public.get("total", True))
    scale = 2**32
    numbers = [round(Fraction(one) * scale) for one in rows.ravel().tolist()]
    single = not whole or len(said.numbers) == 1
    if single and _rank(np.array(numbers, dtype=object).reshape(rows.shape)) >= said.columns:
        raise ProtocolError(
            f"rows: expected hours that span fewer than {said.columns} columns, got all. Ask for fewer or the total of "
            "several loads."
        )
    sums = await _opened_exactly(context, said, _sums(context, said, shares, whole), numbers, rows.shape)
    found = np.array([float(int(one) * Fraction(said.step) / scale) for one in sums.ravel()]).reshape(sums.shape)
    return {"forecast": found[:, 0] if whole else found, "load": said.numbers}


def _sums(context: Context, said: Said, shares: Any, whole: bool) -> Any:
    """Coefficients of each load, shape (B, D), or of their total, (1, D); nothing is sent."""
    places = said.numbers
    chosen = (np.array(said.loads) == places[:, None]).astype(int)
    chosen = chosen.sum(axis=0, keepdims=True) if whole else chosen
    return context.mpc.np_matmul(said.kind(context).field.array(chosen.astype(object)), shares)


async def _finish(context: Context, public: Public, said: Said, shares: Any) -> Payload:
    done = {**await keep(context, said, shares), "load": said.numbers}
    if public.get("opened", True):
        sums = _sums(context, said, shares, whole=False)
        if (noise := said.shared_noise) is not None:
            sums += _noise(context, said, noise)
        found = np.asarray(await context.reveal(sums), dtype=object)
        step = Fraction(said.step)
        done["theta"] = np.array([float(int(one) * step) for one in found.ravel()]).reshape(found.shape)
    return done


def _noise(context: Context, said: Said, noise: SharedNoise) -> Any:
    """The sum of every party's share of the noise, drawn from its operating system and seen by nobody."""
    shape = (len(said.numbers), said.columns)
    alone = len(context.mpc.parties) == 1
    drawn = [noise.share(np.zeros((0, shape[0] * shape[1]))) for _ in (said.parties if alone else said.parties[:1])]
    whole = np.array([int(one) for one in np.sum(drawn, axis=0)], dtype=object).reshape(shape)
    own = said.kind(context).array(whole)
    return own if alone else reduce(add, context.mpc.input(own))


async def _opened_exactly(
    context: Context, said: Said, theta: Any, numbers: Sequence[int], shape: tuple[int, ...]
) -> NDArray:
    """Open whole numbers times coefficients, shape (n, B); the field is wide enough for steps, not for products."""
    modulus = int(said.kind(context).field.modulus)
    longest = max((sum(map(abs, numbers[at : at + shape[1]])) for at in range(0, len(numbers), shape[1])), default=0)
    if longest << said.bits >= modulus // 2:
        raise InputError(
            "rows: expected numbers that products with coefficients leave in range, got larger. Scale them."
        )
    rows = np.array(numbers, dtype=object).reshape(shape)
    product = context.mpc.np_matmul(said.kind(context).field.array(rows), theta.T)
    return np.asarray(await context.reveal(product), dtype=object).reshape(shape[0], -1)


def _rank(rows: NDArray) -> int:
    """Rank of whole numbers, exact: what floats take for rounding beside larger numbers is opened all the same."""
    basis: list[tuple[int, list[Fraction]]] = []
    for row in set(map(tuple, rows.tolist())):
        left = [Fraction(one) for one in row]
        for place, kept in basis:
            if factor := left[place]:
                left = [one - factor * other for one, other in zip(left, kept, strict=True)]
        first = next((at for at, one in enumerate(left) if one), None)
        if first is not None:
            basis.append((first, [one / left[first] for one in left]))
        if len(basis) == rows.shape[1]:
            break
    return len(basis)


def _run(public: Public) -> str:
    run = str(public.get("run", ""))
    if len(run) < 16:
        raise InputError(
            "run: expected a name of at least 16 letters that was never used, got fewer. Draw it at random."
        )
    return run


def _told_noise(context: Context, public: Public) -> tuple[float, ...]:
    told: Mapping[str, float] = public.get("noise") or {}
    if not told:
        return ()
    colluding = told.get("colluding", (len(context.names) - 1) // 2)
    found = (float(told.get("clip", 0)), float(told.get("noise_multiplier", 0)), float(colluding))
    SharedNoise(found[0], found[1], len(context.names), int(found[2]))  # refused before anything is shared
    return found


def _rounding(public: Public, noise: tuple[float, ...]) -> tuple[Fraction, int, Callable[[NDArray], NDArray]]:
    """Step, the most of them in a coefficient, and how a party writes its own in them."""
    if noise:
        grid = Grid(noise[0])
        return Fraction(grid.width), grid.longest, grid.rounded
    step, largest = Fraction(str(public.get("step", 1e-12))), Fraction(str(public.get("largest", 1e6)))
    if not 0 < step <= largest:
        raise InputError(f"step, largest: expected 0 < step <= largest, got {float(step):g} and {float(largest):g}.")
    most = int(largest / step)
    return step, most, lambda values: in_steps(values, step, most)


def _places(
    context: Context, public: Public, owners: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]:
    """Customers of all parties, their loads and whose they are, in the order of the shares."""
    names: Mapping[str, Sequence[str]] = public.get("customers", {})
    loads: Mapping[str, Sequence[int]] = public.get("loads", {})
    for name in owners:
        n = context.shapes[name]["parts"][0]
        if len(names.get(name, ())) != n or len(loads.get(name, ())) != n:
            raise ProtocolError(f"{name}: expected a name and a load of each of its customers, got others.")
    customers = tuple(str(one) for name in owners for one in names[name])
    if len(set(customers)) < len(customers):
        raise ProtocolError("customers: expected each at one party and load, got some twice.")
    holders = tuple(context.names.index(name) for name in owners for _ in names[name])
    return customers, tuple(int(one) for name in owners for one in loads[name]), holders


def _require_company(said: Said) -> None:
    """Refuse a load whose coefficients would be nearly those of one customer, for all or for a party that has some."""
    place = np.searchsorted(said.numbers, said.loads)
    counts = np.zeros((len(said.parties), len(said.numbers)), dtype=np.int64)
    np.add.at(counts, (np.array(said.holders, dtype=np.int64), place), 1)
    total = counts.sum(axis=0)
    others = (total - counts)[counts > 0]
    if not len(total) or (total < said.least).any() or ((others > 0) & (others < said.least)).any():
        raise ProtocolError(
            f"customers: expected at least {said.least} of every load, and as many that a party with some does not "
            "know, if any: coefficients would be nearly their own. Got fewer. Join loads."
        )
