"""Numbers in the ring against whole numbers and fractions of Python, which know no rounding."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError
from unlearn.privacy.federated import FixedPoint

FORMATS = [FixedPoint(), FixedPoint(40, 128), FixedPoint(0, 64), FixedPoint(62, 64), FixedPoint(500, 1024)]
formats = st.sampled_from(FORMATS)


def whole(ring: np.ndarray) -> list[int]:
    """Numbers of the ring as whole numbers without a sign."""
    return [sum(int(limb) << 64 * i for i, limb in enumerate(row)) for row in ring]


def in_ring(fixed: FixedPoint, value: int) -> np.ndarray:
    value %= 1 << fixed.ring_bits
    return np.array([[value >> 64 * i & (2**64 - 1) for i in range(fixed.n_limbs)]], dtype=np.uint64)


def signed(fixed: FixedPoint, value: int) -> int:
    return value - (value >> fixed.ring_bits - 1 << fixed.ring_bits)


def floats(fixed: FixedPoint) -> st.SearchStrategy[float]:
    limit = fixed.limit() / 2
    return st.floats(-limit, limit, exclude_min=True, exclude_max=True) | st.floats(-2.0, 2.0).filter(
        lambda own: abs(own) < limit
    )


@given(st.data(), formats)
def test_a_number_is_written_as_its_nearest_step(data, fixed):
    high, low = data.draw(floats(fixed)), data.draw(floats(fixed))
    (got,) = whole(fixed.encode([high], [low]))
    exact = (Fraction(high) + Fraction(low)) * 2**fixed.fraction_bits
    assert abs(signed(fixed, got) - exact) <= Fraction(1, 2)


@given(st.floats(-1e6, 1e6), st.integers(-4, 4), formats)
def test_what_lies_next_to_half_a_step_is_rounded_to_the_side_it_lies_on(tiny, steps, fixed):
    step = np.ldexp(1.0, -fixed.fraction_bits)
    if (abs(steps) + 1) * step >= fixed.limit():
        return
    low = tiny * 1e-12 * step  # far below a step, and not at its middle
    (got,) = whole(fixed.encode([(steps + 0.5) * step], [low]))
    exact = steps + Fraction(1, 2) + Fraction(low) * 2**fixed.fraction_bits
    assert abs(signed(fixed, got) - exact) <= Fraction(1, 2)


@given(st.data(), formats)
def test_a_number_is_read_as_the_nearest_float_and_the_rest(data, fixed):
    value = data.draw(
        st.integers(-(1 << fixed.ring_bits - 1), (1 << fixed.ring_bits - 1) - 1)
        | st.integers(-(2**60), 2**60)
        | st.builds(lambda a, b: (1 << a) + b, st.integers(0, fixed.ring_bits - 2), st.integers(-2, 2))
        # ties, and what lies next to them
        | st.builds(
            lambda a, b, c: (2**53 + a << 1 | 1) * 2 ** max(b, 0) + c,
            st.integers(0, 2**53 - 1), st.integers(0, fixed.ring_bits - 57), st.integers(-1, 1),
        )
    )  # fmt: skip
    value = signed(fixed, value % (1 << fixed.ring_bits))
    (high,), (low,) = fixed.decode(in_ring(fixed, value))
    exact = Fraction(value, 2**fixed.fraction_bits)
    assert high == exact.numerator / exact.denominator  # Python divides whole numbers with one rounding, ties to even
    rest = exact - Fraction(float(high))
    assert low == rest.numerator / rest.denominator


@given(st.data(), formats)
def test_sums_and_negatives_are_those_of_whole_numbers(data, fixed):
    size = 1 << fixed.ring_bits
    a, b = (data.draw(st.integers(0, size - 1) | st.sampled_from([0, 1, size - 1, size // 2])) for _ in range(2))
    assert whole(fixed.add(in_ring(fixed, a), in_ring(fixed, b))) == [(a + b) % size]
    assert whole(fixed.negate(in_ring(fixed, a))) == [-a % size]


def test_a_double_double_comes_back_exactly():
    random = np.random.default_rng(0)
    high = random.normal(size=500) * 10.0 ** random.integers(-4, 12, 500)
    low = np.ldexp(np.rint(np.ldexp(high * 2.0**-54 * random.uniform(-1, 1, 500), 96)), -96)  # steps of 2^-96
    fixed = FixedPoint()
    high = np.ldexp(np.rint(np.ldexp(high, 90)), -90)
    got = fixed.decode(fixed.encode(high, low))
    for a, b, c, d in zip(high, low, *got, strict=True):
        assert Fraction(float(a)) + Fraction(float(b)) == Fraction(float(c)) + Fraction(float(d))


def test_no_numbers_are_none():
    fixed = FixedPoint()
    assert [part.shape for part in fixed.decode(fixed.encode([]))] == [(0,), (0,)]


@pytest.mark.parametrize("summands", [1, 5, 1000])
def test_as_many_of_the_largest_as_were_said_have_the_right_sign(summands):
    fixed = FixedPoint(8, 64)
    largest = np.nextafter(fixed.limit(summands), 0)
    total = np.zeros((1, 1), dtype=np.uint64)
    for _ in range(summands):
        total = fixed.add(total, fixed.encode([largest], summands=summands))
    assert fixed.decode(total)[0] == pytest.approx(largest * summands)


@pytest.mark.parametrize(
    ("high", "low"), [([1.0, np.nan], None), ([1.0], [np.inf]), ([1e300], None), ([0.0], [-1e300]), ([1e20], None)]
)
def test_what_has_no_place_is_refused(high, low):
    with pytest.raises(InputError, match="expected"):
        FixedPoint(8, 64).encode(high, low)


@pytest.mark.parametrize("low", [[1.0], [[1.0, 2.0]], ["a", "b"]])
def test_another_shape_is_refused(low):
    with pytest.raises(InputError, match="low"):
        FixedPoint().encode([1.0, 2.0], low)


@pytest.mark.parametrize("bits", [(8, 100), (8, 0), (8, 2048), (63, 64), (-1, 64), (1.5, 64), (True, 64)])
def test_formats_that_make_no_sense_are_refused(bits):
    with pytest.raises(InputError, match="bits: expected"):
        FixedPoint(*bits)


def test_what_is_not_of_the_ring_is_not_read():
    for ring in (np.zeros((2, 3)), np.zeros((2, 2), dtype=np.uint64)):
        with pytest.raises(InputError, match="ring: expected"):
            FixedPoint().decode(ring)
