"""Bills are exact in the worst case, and what holders see of two profiles with one bill is alike."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.proofs import proof_count
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted import (
    Biller,
    BillHolder,
    BillTerms,
    SecretKeys,
    Split,
    SplitEncryptor,
    Summands,
    bill_of,
    new_keys,
    new_run,
)
from unlearn.privacy.encrypted.bills import as_rates, bill_step, tariff_polynomial
from unlearn.privacy.encrypted.split_keys import shared
from unlearn.privacy.federated import Identity, Roster

MONTH = BillTerms(n_values=1_488, low=0, high=11_500, highest_rate=6_720)
NET = BillTerms(n_values=48, low=-4_000, high=11_500, highest_rate=300)  # what panels feed in is below zero
LARGE = BillTerms(n_values=5_000, low=0, high=2**33, highest_rate=2**12)  # degree 8192, t = 2^59
TWO, THREE = Split(("audit", "billing"), 2), Split(("audit", "billing", "security"), 2)
OWN = {name: Identity.new() for name in ("meter", "utility")}
ROSTER = Roster({name: one.public for name, one in OWN.items()})


def times(one: np.ndarray, other: np.ndarray, modulus: int) -> np.ndarray:
    """Oracle: the product modulo x^N + 1, term by term."""
    n, found = len(one), [0] * len(one)
    for i, a in enumerate(one.tolist()):
        for j, b in enumerate(other.tolist()):
            found[(i + j) % n] += a * b * (1 if i + j < n else -1)
    return np.array([value % modulus for value in found])


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_constant_coefficient_is_the_bill_of_each_share(n: int, shares: int, spare: int, random) -> None:
    modulus, degree = 64, n * shares + spare
    parts = [[random.randrange(modulus) for _ in range(n)] for _ in range(shares)]
    rates = [random.randrange(-5, 6) for _ in range(n)]
    content = np.zeros(degree, dtype=int)
    content[: n * shares] = np.concatenate(parts)
    found = times(content, tariff_polynomial(np.array(rates), degree, modulus), modulus)
    for at, part in enumerate(parts):
        assert found[at * n] == sum(r * v for r, v in zip(rates, part, strict=True)) % modulus


@given(st.integers(1, 2_000), st.integers(-(2**14), 2**14), st.integers(1, 2**14), st.integers(1, 2**12))
def test_neither_bills_nor_noise_overflow(n_values: int, low: int, span: int, rate: int) -> None:
    terms = BillTerms(n_values, low, low + span, rate, shares=2)
    own, most = terms.parameters, n_values * rate
    n, t, q, p = own.degree, own.plain_modulus, own.modulus, own.dropped
    assert 2 * most * span < t
    assert t & (t - 1) == 0
    assert n >= 2 * n_values
    noise = Fraction(21 * (2 * n + 1), p) + Fraction(n + 1, 2) + Fraction(1, 2)
    assert most * noise < Fraction(q, 2 * t)
    assert own.spare_bits > 0
    assert len({*own.primes, p}) == len(own.primes) + 1
    assert all(one % (2 * n) == 1 == pow(2, one - 1, one) for one in (*own.primes, p))
    # Bits of 128-bit security: HomomorphicEncryption.org standard, 2018, table 1.
    assert (q * p).bit_length() <= {4096: 109, 8192: 218}[n]


@pytest.mark.parametrize("holder", TWO.holders)
def test_the_view_of_a_holder_is_alike_for_two_profiles_of_one_bill(holder: str) -> None:
    modulus, degree, rates = 16, 4, np.array([3, 1, 2])
    flat, peak = np.array([2, 2, 2]), np.array([0, 0, 6])
    assert rates @ flat == rates @ peak
    tariff, runs, views = tariff_polynomial(rates, degree, modulus), 20_000, []
    # All coefficients of the product, from the products of single terms.
    by_term = np.array([times(np.eye(degree, dtype=int)[i], tariff, modulus) for i in range(3)])
    for profile in (flat, peak):
        shares = shared(np.tile(profile, runs), TWO, modulus).reshape(2, runs, 3)
        seen = shares[TWO.shares_of(holder)[0]] @ by_term % modulus
        views.append(seen // 4 @ [1, 4, 16, 64])  # two bits of each coefficient, together
    table = np.array([np.bincount(view, minlength=256) for view in views])
    # Fails by chance with probability 1e-8, for each of two holders.
    assert stats.chi2_contingency(table[:, table.sum(0) > 0]).pvalue > 1e-8


def test_shares_of_a_bill_tell_the_bill_alone() -> None:
    # All holders together, who give the constant coefficients away: uniform among those with this sum.
    modulus, rates, runs = 16, np.array([3, 1, 2]), 20_000
    table = []
    for profile in ([2, 2, 2], [0, 0, 6]):
        shares = shared(np.tile(profile, runs), THREE, modulus).reshape(3, runs, 3) @ rates % modulus
        assert (shares.sum(0) % modulus == 12).all()
        table.append(np.bincount(shares[0] * modulus + shares[1], minlength=256))
    assert stats.chi2_contingency(np.array(table)).pvalue > 1e-8


def test_what_cannot_be_billed_is_refused_before() -> None:
    with pytest.raises(InputError, match="bill: expected readings and rates that one ciphertext holds, got 9000"):
        _ = BillTerms(9_000, 0, 10, 10).parameters
    with pytest.raises(InputError, match="bill: expected readings and rates"):
        _ = BillTerms(10, 0, 2**40, 2**20).parameters
    with pytest.raises(InputError, match="highest_rate: expected a whole number"):
        BillTerms(10, 0, 10, 0)
    for rates, why in (
        ([0.5] * 48, "48 whole numbers, got float64"),
        ([1] * 47, r"got int64 of shape \(47,\)"),
        ([0] * 48, "got 0 as the largest"),
        ([-301, *[1] * 47], "none beyond 300, got 301"),
    ):
        with pytest.raises(InputError, match=why):
            as_rates(rates, NET)
    with pytest.raises(ProtocolError, match="at least 2 of audit, billing; got 1"):
        bill_of({"audit": [1]}, TWO, NET, [1] * 48)
    with pytest.raises(ProtocolError, match="same share to agree"):
        bill_of({"audit": [1, 2], "billing": [3, 4], "security": [5, 6]}, THREE, NET, [1] * 48)


class Billing:
    """One meter, the utility, and holders with their keys."""

    def __init__(self, terms: BillTerms, split: Split) -> None:
        self.terms, self.split = terms, split
        self.keys: dict[str, SecretKeys] = {one: new_keys(split.content(terms)) for one in split.holders}
        self.encryptor = SplitEncryptor(split, {one: own.public for one, own in self.keys.items()}, terms)
        self.holders = {one: BillHolder(own, terms, split, ROSTER, "utility") for one, own in self.keys.items()}

    def message(self, holder: str, readings: np.ndarray, rates: np.ndarray, run: str):
        sent = self.encryptor.encrypt(readings, run, "meter")[holder].signed(OWN["meter"]).payload()
        biller = Biller(self.keys[holder].public, self.terms, self.split, rates, run, ROSTER)
        return biller.bill(sent, "meter", "utility").signed(OWN["utility"]).payload()

    def bill(self, readings: np.ndarray, rates: np.ndarray) -> int:
        run, opened = new_run(), {}
        for holder, one in self.encryptor.encrypt(readings, run, "meter").items():
            biller = Biller(self.keys[holder].public, self.terms, self.split, rates, run, ROSTER)
            priced = biller.bill(one.signed(OWN["meter"]).payload(), "meter", "utility")
            opened[holder] = self.holders[holder].open(priced.signed(OWN["utility"]).payload(), run, "meter")
        return bill_of(opened, self.split, self.terms, rates)


@pytest.mark.extras
@pytest.mark.parametrize(("terms", "split"), [(MONTH, TWO), (MONTH, THREE), (NET, THREE), (LARGE, TWO)])
def test_bills_are_exact(terms: BillTerms, split: Split) -> None:
    own, random, n = Billing(terms, split), np.random.default_rng(0), terms.n_values
    for reading in (terms.low, terms.high):
        for rate in (terms.highest_rate, -terms.highest_rate):
            assert own.bill(np.full(n, reading), np.full(n, rate)) == n * reading * rate
    for _ in range(proof_count(340)):
        readings = random.integers(terms.low, terms.high + 1, n)
        rates = random.integers(-terms.highest_rate, terms.highest_rate + 1, n)
        assert own.bill(readings, rates) == int(readings @ rates)


@pytest.mark.extras
def test_a_holder_decrypts_the_tariff_times_its_own_share_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    # With the same random bits the first holder's view is the same whatever the readings are.
    own, rates = Billing(NET, TWO), np.arange(1, 49)
    drawn = np.random.default_rng(0).bytes(48 * 8)
    monkeypatch.setattr("unlearn.privacy.encrypted.split_keys.secrets.token_bytes", lambda n: drawn[:n])
    (holder,) = (one for one in TWO.holders if TWO.shares_of(one) == (0,))
    seen = []
    for run, readings in (("00" * 16, np.full(48, 100)), ("01" * 16, np.arange(48))):
        seen.append(own.holders[holder].coefficients(own.message(holder, readings, rates, run), run, "meter"))
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 40


@pytest.mark.extras
def test_a_second_bill_another_meter_and_other_keys_are_refused() -> None:
    own, run, rates, readings = Billing(NET, TWO), new_run(), np.full(48, 3), np.full(48, 5)
    message, holder = own.message("audit", readings, rates, run), own.holders["audit"]
    with pytest.raises(ProtocolError, match="expected step bill of other, got bill of meter"):
        holder.open(message, run, "other")
    with pytest.raises(ProtocolError, match="expected run"):
        holder.open(message, new_run(), "meter")
    with pytest.raises(ProtocolError, match="expected key"):
        own.holders["billing"].open(message, run, "meter")
    assert len(holder.open(message, run, "meter")) == 1
    with pytest.raises(ProtocolError, match=f"utility, {bill_step('meter')}: expected one bill in a run"):
        holder.open(message, run, "meter")
    # Readings themselves are no bill.
    again = new_run()
    sent = own.encryptor.encrypt(readings, again, "meter")["audit"].signed(OWN["meter"]).payload()
    with pytest.raises(ProtocolError, match="expected step bill of meter, got readings"):
        holder.open(sent, again, "meter")
    sums = new_keys(Summands(48, 0, 10, 10))
    with pytest.raises(ProtocolError, match="expected keys for these bills"):
        Biller(sums.public, NET, TWO, rates, run, ROSTER)
    with pytest.raises(InputError, match="expected keys for these bills"):
        BillHolder(sums, NET, TWO, ROSTER, "utility")
    with pytest.raises(InputError, match="got 1 outside"):
        own.encryptor.encrypt([NET.high + 1, *[0] * 47], run, "meter")
    with pytest.raises(InputError, match="keys for what is encrypted"):
        SplitEncryptor(TWO, {"audit": sums.public, "billing": own.keys["billing"].public}, NET)
