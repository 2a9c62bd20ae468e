"""Which encrypted loads are above a limit: the key holder decrypts an indicator for each, and not the load.

Trust: as in `ckks`. The server computes the sign of load - limit by composed polynomials (Cheon, Kim and Kim, 2020)
and adds uniform noise before the key holder decrypts. Outside of a band around the limit the indicator is right, and
tells of the load beyond its side of the limit at most `LimitPlan.told` in total variation. Within the band it is not
clear, and what is decrypted tells how near the load is.

The other way is an exact difference under BFV, times a random number. It has no band, and needs one product instead of
a dozen. But a product shows the size of its factors: of the 60 bits of a plaintext modulus, a difference of 24 bits
leaves 35 to the random number, which hides a third of what the size tells. So the polynomials are used, for what is to
be hidden is the load. Where the key holder may see loads, it decrypts them and compares.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unlearn.checks import (
    BoolArray,
    FloatArray,
    as_floats,
    require_finite,
    require_fraction,
    require_positive,
    require_shape,
)
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.ckks import make_context, uniform
from unlearn.privacy.encrypted.envelope import Ciphertext, Inbox, Label
from unlearn.privacy.encrypted.keys import PublicKeys, SecretKeys
from unlearn.privacy.encrypted.precision import MAX_BITS, fresh_noise
from unlearn.privacy.encrypted.seal import read, seal, written
from unlearn.privacy.federated.identity import Roster
from unlearn.privacy.federated.messages import Payload

SCHEME = "ckks-limits"
LOADS, ABOVE = "loads", "loads above limits"

#: a x - b x^3, by a and b: the first brings small numbers up fastest, the second brings numbers near 1 to 1.
_STEEP, _FLAT = (2126.0 / 1024.0, 1359.0 / 1024.0), (1.5, 0.5)
_SCALE_BITS, _END_BITS = 40, 60
#: Flooding noise of an indicator is uniform within this.
_FLOOD = 0.5


@dataclass(frozen=True)
class LimitTask:
    """What is compared.

    Attributes:
        largest: loads and limits lie within 0..largest.
        band: loads nearer to the limit than this need not be told apart from it.
        told: bound of what an indicator outside of the band tells beyond its sign, in total variation.

    Raises:
        InputError: not 0 < band < largest, or `told` outside of 0 to 1.
    """

    largest: float
    band: float
    told: float = 0.01

    def __post_init__(self) -> None:
        # Of Python, so that keys can name them.
        for name, value in (
            ("told", require_fraction("told", self.told)),
            ("band", require_positive("band", self.band)),
            ("largest", require_positive("largest", self.largest)),
        ):
            object.__setattr__(self, name, value)
        if not self.band < self.largest:
            raise InputError(f"band: expected less than largest, {self.largest:g}, got {self.band:g}.")


@dataclass(frozen=True)
class LimitPlan:
    """How it is compared.

    Attributes:
        degree: N; N / 2 loads are compared at once.
        steep, flat: how often each polynomial is applied; each time takes two levels.
        told: what an indicator outside of the band tells beyond its sign at most.
    """

    degree: int
    steep: int
    flat: int
    told: float

    @property
    def prime_bits(self) -> tuple[int, ...]:
        return (_END_BITS, *(_SCALE_BITS,) * (2 * (self.steep + self.flat)), _END_BITS)


@lru_cache(maxsize=64)
def plan_of(task: LimitTask) -> LimitPlan:
    """The fewest polynomials that bring every load outside of the band near -1 or 1, with noise at its worst.

    >>> plan = plan_of(LimitTask(largest=100.0, band=50.0, told=0.2))
    >>> plan.degree, plan.steep + plan.flat
    (16384, 2)

    Raises:
        InputError: the band is so narrow that 128-bit security has no room for the depth.
    """
    for degree in (16384, 32768):
        most = (MAX_BITS[degree] - 2 * _END_BITS) // (2 * _SCALE_BITS)
        for stages in range(1, most + 1):
            ends = {steep: _image(task, degree, steep, stages - steep) for steep in range(stages + 1)}
            steep = min(ends, key=lambda one: ends[one][1] - ends[one][0])
            low, high = ends[steep]
            if low > _FLOOD and high < 2.0 and (high - low) / (2.0 * _FLOOD) <= task.told:
                return LimitPlan(degree, steep, stages - steep, (high - low) / (2.0 * _FLOOD))
    raise InputError(
        f"band: expected a wider one for 128-bit security within {task.largest:g}, got {task.band:g}: its polynomials "
        "are deeper than the largest ciphertext allows. Narrow the range, or widen the band or what may be told."
    )


def _image(task: LimitTask, degree: int, steep: int, flat: int) -> tuple[float, float]:
    """Where |load - limit| from the band to the largest ends. Both polynomials are concave above 0."""
    # Relinearisation with a first prime as large as the special one, and rescaling, several times in each stage.
    noise = 800.0 * degree / 2.0**_SCALE_BITS
    fresh = fresh_noise(degree) / 2.0**_SCALE_BITS
    low, high = task.band / task.largest - fresh, 1.0 + fresh
    for a, b in [_STEEP] * steep + [_FLAT] * flat:
        top = min(max(math.sqrt(a / (3.0 * b)), low), high)
        ends = [a * x - b * x**3 for x in (low, high, top)]
        low, high = min(ends[:2]) - noise, max(ends) + noise
        if low <= 0.0 or high > 1.2:
            return -1.0, 9.0
    return low, high


def new_limit_keys(task: LimitTask) -> SecretKeys:
    """Keys for one comparison; those for relinearisation go to the server with the public key, none for rotations.

    Raises:
        MissingPackageError: TenSEAL is not installed.
        InputError: see `plan_of`.
    """
    context = _context(plan_of(task))
    maker, public, relin = seal().KeyGenerator(context), seal().PublicKey(), seal().RelinKeys()
    maker.create_public_key(public)
    maker.create_relin_keys(relin)
    parts = {"encrypt": written(public), "relinearise": written(relin)}
    settings = json.dumps(asdict(task), sort_keys=True)
    return SecretKeys(PublicKeys(SCHEME, settings, parts), written(maker.secret_key()))


def limit_task_of(keys: PublicKeys) -> LimitTask:
    """What keys are for.

    Raises:
        ProtocolError: keys of another scheme.
    """
    try:
        if keys.scheme != SCHEME:
            raise ValueError
        return LimitTask(**json.loads(keys.settings))
    except (ValueError, TypeError):
        raise ProtocolError("public keys: expected those of limits, got others. Ask their holder for others.") from None


def encrypt_loads(keys: PublicKeys, loads: ArrayLike, run: str, sender: str) -> Ciphertext:
    """Encrypt loads, shape (n,) with n at most N / 2; sign the result before it is sent.

    Raises:
        InputError: another shape, NaN, or a load outside of 0..largest. Values are not shown.
    """
    task = limit_task_of(keys)
    plan = plan_of(task)
    values = _within("loads", loads, task, plan)
    context = _context(plan)
    public = read(seal().PublicKey(), context, keys.parts.get("encrypt", b""), "public key")
    plain, out = seal().Plaintext(), seal().Ciphertext(context)
    seal().CKKSEncoder(context).encode((values / task.largest).tolist(), 2.0**_SCALE_BITS, plain)
    seal().Encryptor(context, public).encrypt(plain, out)
    return Ciphertext(_label(keys, run, LOADS), sender, (written(out),))


def above_limits(
    keys: PublicKeys, payload: Payload, run: str, roster: Roster, sender: str, limits: ArrayLike, server: str
) -> Ciphertext:
    """The server's side: an encrypted indicator for each load; sign the result before it is sent.

    Args:
        keys: that the loads are encrypted with.
        payload: what the sender sent.
        run: identifier of the run.
        roster: who may send.
        sender: who sent it.
        limits: in the order of the loads, shape (n,).
        server: own name.

    Raises:
        InputError: a limit outside of 0..largest, or more than fit.
        ProtocolError: as for `Inbox.opened`, or no ciphertext of these parameters.
    """
    task = limit_task_of(keys)
    plan = plan_of(task)
    values = _within("limits", limits, task, plan)
    found = Inbox(_label(keys, run, LOADS), roster).opened(payload, sender)
    context, what = _context(plan), f"{sender}, {LOADS}"
    x = _opened(plan, found, what)
    if x.parms_id() != context.first_parms_id() or x.scale != 2.0**_SCALE_BITS:
        raise ProtocolError(f"{what}: expected a fresh ciphertext, got one of another level or scale. Leave it out.")
    encoder, evaluator, plain = seal().CKKSEncoder(context), seal().Evaluator(context), seal().Plaintext()
    encoder.encode((values / task.largest).tolist(), x.scale, plain)
    evaluator.sub_plain_inplace(x, plain)
    composed = _Composed(plan, read(seal().RelinKeys(), context, keys.parts.get("relinearise", b""), "keys"))
    for a, b in [_STEEP] * plan.steep + [_FLAT] * plan.flat:
        x = composed.applied(x, a, b)
    flood = uniform((plan.degree // 2,), _FLOOD) + 1j * uniform((plan.degree // 2,), _FLOOD)
    encoder.encode(flood.tolist(), x.parms_id(), x.scale, plain)
    evaluator.add_plain_inplace(x, plain)
    return Ciphertext(_label(keys, run, ABOVE), server, (written(x),))


def open_above(keys: SecretKeys, payload: Payload, run: str, roster: Roster, server: str, n: int) -> BoolArray:
    """The key holder's side: which of n loads are above their limits, shape (n,); either within the band.

    Raises:
        ProtocolError: as for `Inbox.opened`, or no ciphertext of these parameters.
    """
    plan = plan_of(limit_task_of(keys.public))
    found = Inbox(_label(keys.public, run, ABOVE), roster).opened(payload, server)
    context, plain = _context(plan), seal().Plaintext()
    secret = read(seal().SecretKey(), context, keys.secret, "secret key")
    seal().Decryptor(context, secret).decrypt(_opened(plan, found, f"{server}, {ABOVE}"), plain)
    return np.array(seal().CKKSEncoder(context).decode_double(plain))[:n] > 0.0


class _Composed:
    """Applies polynomials with its own account of scales: each ends at the agreed scale, two levels down."""

    def __init__(self, plan: LimitPlan, relin: Any) -> None:
        context = _context(plan)
        self._evaluator, self._encoder, self._relin = seal().Evaluator(context), seal().CKKSEncoder(context), relin
        moduli = context.key_context_data().parms().coeff_modulus()
        self._primes, self._context = [one.value() for one in moduli][:-1], context

    def applied(self, x: Any, a: float, b: float) -> Any:
        """a x - b x^3."""
        if len(self._primes) < 3:
            raise InputError("polynomials: expected two levels that are left, got fewer. Make keys for a wider band.")
        first, second = self._primes.pop(), self._primes.pop()
        scale, wanted = x.scale, 2.0**_SCALE_BITS
        square = self._new()
        self._evaluator.square(x, square)
        self._relinearised(square)
        cubic = self._times(x, b, wanted * first**2 * second / scale**3)
        product = self._new()
        self._evaluator.multiply(square, cubic, product)
        self._relinearised(product)
        lower = self._new()
        self._evaluator.mod_switch_to_next(x, lower)
        linear = self._times(lower, a, wanted * second / scale)
        # Both are `wanted` but for float64's last digits.
        product.scale = linear.scale = wanted
        self._evaluator.sub_inplace(linear, product)
        return linear

    def _times(self, x: Any, number: float, scale: float) -> Any:
        plain, out = seal().Plaintext(), self._new()
        self._encoder.encode(number, x.parms_id(), scale, plain)
        self._evaluator.multiply_plain(x, plain, out)
        self._evaluator.rescale_to_next_inplace(out)
        return out

    def _relinearised(self, x: Any) -> None:
        self._evaluator.relinearize_inplace(x, self._relin)
        self._evaluator.rescale_to_next_inplace(x)

    def _new(self) -> Any:
        return seal().Ciphertext(self._context)


def _within(name: str, values: ArrayLike, task: LimitTask, plan: LimitPlan) -> FloatArray:
    array = as_floats(name, values, ndim=1)
    require_shape(name, array, (None,))
    require_finite(name, array)
    if not 0 < len(array) <= plan.degree // 2:
        raise InputError(f"{name}: expected 1 to {plan.degree // 2}, got {len(array)}. Send them in several runs.")
    outside = int(((array < 0.0) | (array > task.largest)).sum())
    if outside:
        raise InputError(
            f"{name}: expected numbers within 0..{task.largest:g}, got {outside} others. The polynomials hold in that "
            "range alone; agree on a wider one."
        )
    return array


def _opened(plan: LimitPlan, found: Ciphertext, what: str) -> Any:
    if len(found.parts) != 1:
        raise ProtocolError(f"{what}: expected one part, got {len(found.parts)}. Leave it out.")
    cipher = read(seal().Ciphertext(), _context(plan), found.parts[0], what)
    if cipher.size() != 2:
        raise ProtocolError(f"{what}: expected a ciphertext of two polynomials, got another. Leave it out.")
    if cipher.is_transparent():
        raise ProtocolError(f"{what}: expected a ciphertext, got one that hides nothing. Leave it out.")
    return cipher


def _label(keys: PublicKeys, run: str, step: str) -> Label:
    return Label(SCHEME, keys.fingerprint, run, step, keys.settings)


@lru_cache(maxsize=4)
def _context(plan: LimitPlan) -> Any:
    context = make_context(plan.degree, plan.prime_bits, levels=True)
    if not context.parameters_set():
        raise InputError(f"limits: SEAL refuses the parameters: {context.parameters_error_message()}.")
    return context
