"""Least squares where features are private too, such as lags and own temperatures: secret normal equations, solved.

Parties have rows of their own. Of `A = Σ Φ'Φ / N + λ I` and `b = Σ Φ'Y / N` nobody sees a number; only
`θ = A⁻¹ b` is opened, rounded. The inverse is found by Newton's iteration `X ← X (2 I − A X)` (Schulz 1933), in fixed
point. It needs products alone, of whole matrices, so rounds grow with the logarithm of the condition number and not
with the number of columns; and its errors do not pile up: with `r = ‖I − A X‖`, a step of rounding error ρ leaves at
most `r² + ρ`. All of it follows from public numbers: columns, parties, and the ridge λ, which no eigenvalue of A is
below. So digits are promised before anything is shared, or the solve is refused.

Two other ways were weighed. Exact rationals, after a random secret matrix hides A in one opening, need a field of some
F times as many bits, and opening a rational tells the determinant and much of A besides θ; rounding it inside divides
numbers of thousands of bits. Cholesky's method has F divisions one after another, each of tens of rounds.

Truncation: an entry is hidden by the sum of a random number of each party, opened, and shifted. A number of one party
alone hides it up to a probability of 2⁻⁸⁰.

Trust: parties are semi-honest, and `threshold` of them together learn of others no more than θ, up to 2⁻⁶⁰ in all.
To unlearn, the holder sums up its rows without the customer, and all solve again: nothing is subtracted, so nothing can
be that was never added. θ before and after differ by what left, as the features tell it. Let changes of several parties
meet in one solve. θ carries no noise: it is not differentially private.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unlearn.checks import FloatArray, as_floats, require_count, require_finite, require_positive, require_shape
from unlearn.errors import InputError, ProtocolError
from unlearn.linalg import SufficientStatistics
from unlearn.privacy.federated.messages import Payload
from unlearn.privacy.mpc.context import SECURITY_BITS, Context, Public
from unlearn.privacy.mpc.programs.totals import LEAST

#: Probability, as a power of two, that an opened number tells something.
HIDING_BITS = 80
#: Error of a party's moments, over N; `own_moments` refuses more.
_MOMENTS = 2.0**-68
_MOST_BITS = 256


@dataclass(frozen=True)
class Precision:
    """Digits with which a promise is kept.

    Attributes:
        fraction_bits: of A, b and X.
        result_bits: of θ.
        steps: of Newton's iteration.
        whole_bits: no number that is truncated has more, with its fractions.
        bound: `‖θ − A⁻¹ b‖` of a load is at most that.
    """

    fraction_bits: int
    result_bits: int
    steps: int
    whole_bits: int
    bound: float


def precision_for(columns: int, parties: int, ridge: float = 1e-6, tolerance: float = 1e-9) -> Precision:
    """The fewest digits that keep a promise for whatever rows of columns and loads within [-1, 1].

    >>> found = precision_for(columns=20, parties=3)
    >>> found.bound <= 1e-9, found.steps
    (True, 31)

    Args:
        columns: F.
        parties: m.
        ridge: λ, relative to columns of size one.
        tolerance: largest error of a load's coefficients, in Euclidean norm.

    Raises:
        InputError: the ridge is too small for the tolerance.
    """
    f, m = require_count("columns", columns), require_count("parties", parties)
    ridge, tolerance = require_positive("ridge", ridge), require_positive("tolerance", tolerance)
    for bits in range(64, _MOST_BITS + 1, 8):
        found = _bounded(f, m, ridge, tolerance, bits)
        if found is not None and found.bound <= tolerance:
            return found
    raise InputError(
        f"ridge: expected one that {tolerance:g} can be promised with for {f} columns, got {ridge:g}. Raise the ridge "
        "or the tolerance: moments are known to some 20 digits."
    )


def _bounded(f: int, m: int, ridge: float, tolerance: float, bits: int) -> Precision | None:
    """The bound with so many fraction bits; None where the iteration is not sure to converge."""
    unit = 2.0**-bits
    # A high and a low part of each party, each rounded to the nearest.
    entry = m * (unit + _MOMENTS)
    error_a, error_b = f * entry, math.sqrt(f) * entry
    least, most = ridge - error_a, f + ridge + error_a
    if least <= ridge / 2:
        return None
    rounding = (2 + most) * f * m * unit
    # The distance from 1 loses nothing to rounding where it is small.
    gap, steps = least / 2.0 ** _start_bits(f, ridge), 0
    while gap < 0.5:
        after = gap * (2 - gap) - rounding
        if after <= gap * 1.25:
            return None
        gap, steps = after, steps + 1
    rest = 1 - gap
    while rest > (floor := 2 * rounding) and steps < _MOST_BITS:
        rest, steps = rest * rest + rounding, steps + 1
        if rest <= floor * 2:
            break
    root = math.sqrt(f)
    result_bits = max(1, math.ceil(math.log2(4 * m * root / tolerance)))
    bound = (rest * root + error_a / (2 * math.sqrt(ridge)) + error_b) / least + m * root * 2.0**-result_bits
    # Of A X, X (2 I − A X) and X b the second or third is the largest: |X| <= 2 / least.
    whole = 2 * bits + math.ceil(math.log2(6 * root / least)) + 1
    return Precision(bits, min(result_bits, 2 * bits - 1), steps, whole, bound)


def _start_bits(columns: int, ridge: float) -> int:
    """X starts at 2 to minus this times I, below the inverse of every eigenvalue."""
    return math.ceil(math.log2(columns + ridge + 1e-3))


def rows_scale(rows: int) -> int:
    """N: the least power of two that is not below the number of all parties' rows, so that dividing is exact."""
    return 1 << (require_count("rows", rows) - 1).bit_length()


def own_moments(features: FloatArray, loads: FloatArray, rows: int) -> Payload:
    """What a party brings to `solve`: sums over its own rows, over N, which stay with it until they are shared.

    >>> own = own_moments(np.array([[0.5, 1.0], [-0.5, 1.0]]), np.array([[1.0], [0.0]]), rows=4)
    >>> own["moments"][0].tolist()
    [[0.125, 0.0, 0.125], [0.0, 0.5, 0.25]]

    Args:
        features: φ, shape (n, F), scaled by public numbers to lie within [-1, 1], an intercept of ones among them.
        loads: shape (n, B), likewise within [-1, 1].
        rows: of all parties together, which is public.

    Returns:
        `moments`, high and low part of `[Φ'Φ, Φ'Y] / N`, shape (2, F, F + B); `rows`, here and of all.

    Raises:
        InputError: wrong shapes, numbers beyond [-1, 1], or more rows than all parties have.
    """
    features, loads = as_floats("features", features, ndim=2), as_floats("loads", loads, ndim=2)
    require_shape("loads", loads, (len(features), None))
    scale = rows_scale(rows)
    if len(features) > rows:
        raise InputError(f"rows: expected as many as all parties have together, got {rows}, fewer than here.")
    for name, values in (("features", features), ("loads", loads)):
        require_finite(name, values)
        if (np.abs(values) > 1).any():
            raise InputError(f"{name}: expected numbers within [-1, 1], got larger ones. Divide by a public bound.")
    sums = SufficientStatistics.of(torch.from_numpy(features), torch.from_numpy(loads))
    if len(features) and float(sums.rounding.max()) / scale > _MOMENTS:
        raise InputError("features: expected sums that are exact to 20 digits, got rougher ones. Take fewer rows.")
    moments = sums.moments[:, : features.shape[1]].numpy() / scale
    return {"moments": moments, "rows": np.array([len(features), rows])}


async def solve(context: Context, public: Public) -> Payload:
    """Solve the secret normal equations of all parties and open the coefficients alone.

    Each party with rows brings `moments`, see `own_moments`; others only compute.

    Args:
        context: see `Context`.
        public: `columns`, F; `rows`, by party, of those who bring some; `ridge` (1e-6) and `tolerance` (1e-9), as
            of `precision_for`.

    Returns:
        `theta`, shape (B, F), of the scaled columns and loads; `bound` of a load's error in Euclidean norm.

    Raises:
        InputError: a promise that cannot be kept; moments of one's own out of range.
        ProtocolError: fewer than three parties with rows, or other shapes.
    """
    columns = require_count("columns", public.get("columns"))
    owners = context.owners("moments")
    if len(owners) < LEAST:
        raise ProtocolError(f"solve: expected moments of at least {LEAST} parties, got {len(owners)}.")
    shapes = {context.shapes[name]["moments"] for name in owners}
    shape = next(iter(shapes))
    if len(shapes) > 1 or len(shape) != 3 or shape[:2] != (2, columns) or shape[2] <= columns:
        raise ProtocolError(
            f"moments: expected (2, {columns}, {columns} + loads) of every party, got {sorted(shapes)}."
        )
    _require_rows(context, public, owners)
    options = {name: float(public[name]) for name in ("ridge", "tolerance") if name in public}
    digits = precision_for(columns, len(context.names), **options)
    bits, ridge = digits.fraction_bits, options.get("ridge", 1e-6)
    kind = _kind(context, digits)
    shared = context.shared("moments", kind, lambda values: _encoded(values, bits))
    both = reduce(add, shared.values())
    sums = both[0] + both[1]
    eye = np.eye(columns, dtype=int).astype(object)
    a = sums[:, :columns] + kind.array(eye * round(ridge * 2**bits))
    b = sums[:, columns:]
    inverse = kind.array(eye * 2 ** (bits - _start_bits(columns, ridge)))
    twice = kind.array(eye * 2 ** (bits + 1))
    for _ in range(digits.steps):
        product = await _shifted(context, kind, context.mpc.np_matmul(a, inverse), bits, digits.whole_bits)
        inverse = await _shifted(
            context, kind, context.mpc.np_matmul(inverse, twice - product), bits, digits.whole_bits
        )
    found = context.mpc.np_matmul(inverse, b)
    theta = await _shifted(context, kind, found, 2 * bits - digits.result_bits, digits.whole_bits)
    opened = np.asarray(await context.reveal(theta), dtype=object)
    values = [math.ldexp(int(one), -digits.result_bits) for one in opened.ravel()]
    return {"theta": np.array(values).reshape(opened.shape).T, "bound": np.array([digits.bound])}


def _require_rows(context: Context, public: Public, owners: tuple[str, ...]) -> None:
    """Refuse sums of other rows than all agree on: over another N they would be too large for what is promised."""
    told: Mapping[str, int] = public.get("rows", {})
    if set(told) != set(owners):
        raise ProtocolError("rows: expected a number for each party that brings moments, and for no other.")
    for name in set(owners) & set(context.inputs):
        if np.asarray(context.inputs[name].get("rows", [])).tolist() != [told[name], sum(told.values())]:
            raise InputError(f"rows: expected moments of {name} over the rows that all agree on, got those of others.")


def _kind(context: Context, digits: Precision) -> Any:
    """Whole numbers in a field that has room for the sum of all masks."""
    masks = len(context.names).bit_length()
    return context.mpc.SecInt(digits.whole_bits + HIDING_BITS - SECURITY_BITS + masks + 1)


async def _shifted(context: Context, kind: Any, value: Any, shift: int, whole_bits: int) -> Any:
    """A shared array over 2**shift, off by at most one for each party."""
    low, high = _random(value.shape, shift), _random(value.shape, whole_bits + HIDING_BITS - shift)
    masks = kind.array(np.stack([low, high]))
    alone = len(context.mpc.parties) == 1
    mask = masks if alone else reduce(add, context.mpc.input(masks))
    lifted = value + kind.array(np.full(value.shape, 1 << whole_bits, dtype=object))
    opened = np.asarray(await context.reveal(lifted + mask[0] + mask[1] * (1 << shift)), dtype=object)
    rest = (opened >> shift) - (1 << (whole_bits - shift))
    return kind.array(rest) - mask[1]


def _random(shape: tuple[int, ...], bits: int) -> NDArray:
    """Uniform whole numbers below 2**bits from the operating system's source."""
    found = np.empty(math.prod(shape), dtype=object)
    found[:] = [secrets.randbits(bits) for _ in range(len(found))]
    return found.reshape(shape)


def _encoded(values: NDArray, bits: int) -> NDArray:
    """High and low parts as whole numbers of 2**-bits, the nearest.

    Raises:
        InputError: larger than moments over N of numbers within [-1, 1] can be.
    """
    if (np.abs(values) > 1).any():
        raise InputError("moments: expected numbers within [-1, 1], got larger ones. Take those of own_moments.")
    found = np.empty(values.size, dtype=object)
    # A float is a fraction over a power of two, so that this rounding is the only one.
    fractions = (one.as_integer_ratio() for one in values.ravel().tolist())
    found[:] = [((top << (bits + 1)) // bottom + 1) >> 1 for top, bottom in fractions]
    return found.reshape(values.shape)
