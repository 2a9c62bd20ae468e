"""Parameters hold in the worst case, by whole-number arithmetic of their own."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted.parameters import BillTerms, Summands, parameters


@given(st.integers(1, 9000), st.integers(-(2**40), 2**40), st.integers(1, 2**17), st.integers(1, 10_000))
def test_neither_sums_nor_noise_overflow(n_values: int, low: int, span: int, addends: int) -> None:
    own = parameters(Summands(n_values, low, low + span, addends))
    n, t, q = own.degree, own.plain_modulus, own.modulus
    assert 2 * addends * span < t
    assert t & (t - 1) == 0
    assert q % t == q % (2 * n) == 1
    noise = Fraction(21 * (2 * n + 1), own.dropped or 1) + (Fraction(n + 1, 2) if own.dropped else 0) + Fraction(1, 2)
    assert addends * noise < Fraction(q, 2 * t)
    assert own.spare_bits > 0
    assert own.n_ciphertexts * n >= n_values
    # Bits of 128-bit security: HomomorphicEncryption.org standard, 2018, table 1.
    assert q.bit_length() + own.dropped.bit_length() <= {1024: 27, 2048: 54, 4096: 109}[n]


def test_moduli_are_prime() -> None:
    for addends in (10, 1_000, 10_000):
        q = parameters(Summands(24, 0, 65_535, addends)).modulus
        if q < 2**30:
            assert all(q % d for d in range(2, math.isqrt(q) + 1))
        assert pow(2, q - 1, q) == 1


def test_a_month_of_hours_of_ten_thousand_meters_is_one_ciphertext() -> None:
    own = parameters(Summands(31 * 24, 0, 2**16 - 1, 10_000))
    assert (own.degree, own.n_ciphertexts) == (4096, 1)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="high: expected a whole number above low"):
        Summands(24, 5, 5, 10)
    with pytest.raises(InputError, match="low: expected a whole number"):
        Summands(24, 0.5, 5, 10)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="addends: expected a whole number"):
        Summands(24, 0, 5, 0)
    with pytest.raises(InputError, match="Sum in several groups"):
        parameters(Summands(24, 0, 5, 10**12))
    day = Summands(24, 0, 5, 10)
    assert Summands.read(day.text) == day
    for text in ("{}", "[", day.text + " "):
        with pytest.raises(ProtocolError, match="expected what is summed"):
            Summands.read(text)


def test_ranges_of_numpy_are_those_of_python() -> None:
    assert Summands(24, np.int64(-3), np.int32(9), 5).text == Summands(24, -3, 9, 5).text
    assert BillTerms(24, np.int64(0), np.int32(9), 5).text == BillTerms(24, 0, 9, 5).text
    with pytest.raises(InputError, match="low: expected a whole number"):
        Summands(24, 0.0, 9, 5)
