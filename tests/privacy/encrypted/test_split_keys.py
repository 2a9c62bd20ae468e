"""Split keys: any t holders have the exact total, and what fewer decrypt is uniform whatever the readings are."""

import itertools

import numpy as np
import pytest
from scipy import stats

from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.encrypted import KeyHolder, RunningSum, Split, SplitEncryptor, Summands, new_keys, new_run
from unlearn.privacy.encrypted.split_keys import joined, shared
from unlearn.privacy.federated import Identity, Roster

HOLDERS = ("audit", "billing", "security")
DAY = Summands(24, -100, 30_000, 16)


@pytest.mark.parametrize("threshold", [2, 3, 4])
def test_any_threshold_holders_have_all_shares_and_fewer_lack_one(threshold: int) -> None:
    split = Split(tuple("abcd"), threshold)
    for n in (threshold - 1, threshold):
        for some in itertools.combinations(split.holders, n):
            held = {share for holder in some for share in split.shares_of(holder)}
            assert (held == set(range(split.n_shares))) == (n == threshold)


@pytest.mark.parametrize("value", [0, 15])
def test_what_one_holder_sees_is_uniform_whatever_the_reading(value: int) -> None:
    split = Split(HOLDERS, 2)
    shares = shared(np.full(64_000, value), split, 16)
    assert ((shares.sum(0) - value) % 16 == 0).all()
    for holder in HOLDERS:
        first, second = split.shares_of(holder)
        counts = np.bincount(shares[first] * 16 + shares[second], minlength=256)
        # Four views below fail by chance with probability 1e-8 each.
        assert stats.chisquare(counts).pvalue > 1e-8


def test_holders_and_thresholds_that_protect_nobody_are_refused() -> None:
    with pytest.raises(InputError, match="could read alone"):
        Split(HOLDERS, 1)
    with pytest.raises(InputError, match="threshold: expected 2 to all 3"):
        Split(HOLDERS, 4)
    with pytest.raises(InputError, match="at most 1000 shares"):
        Split(tuple(f"h{i}" for i in range(16)), 8)
    opened = {"audit": ([0] * 24, 1)}
    with pytest.raises(ProtocolError, match="at least 2 of audit, billing, security; got 1"):
        joined(opened, Split(HOLDERS, 2), DAY)
    with pytest.raises(ProtocolError, match="sums of the same senders"):
        joined({**opened, "billing": ([0] * 24, 2)}, Split(HOLDERS, 2), DAY)
    with pytest.raises(ProtocolError, match="holders of the same share to agree"):
        joined({"audit": ([0] * 2048, 1), "billing": ([1] * 2048, 1)}, Split(HOLDERS, 2), DAY)


@pytest.mark.extras
@pytest.mark.parametrize("threshold", [2, 3])
def test_holders_together_have_the_exact_total(threshold: int) -> None:
    split, run = Split(HOLDERS, threshold), new_run()
    names = [f"meter_{i}" for i in range(16)]
    own = {name: Identity.new() for name in (*names, "server")}
    roster = Roster({name: one.public for name, one in own.items()})
    keys = {holder: new_keys(split.content(DAY)) for holder in HOLDERS}
    public = {holder: one.public for holder, one in keys.items()}
    encryptor = SplitEncryptor(split, public, DAY)
    totals = {holder: RunningSum(public[holder], run, roster) for holder in HOLDERS}
    rows = np.random.default_rng(0).integers(DAY.low, DAY.high + 1, (16, 24))
    for name, row in zip(names, rows, strict=True):
        for holder, sent in encryptor.encrypt(row, run, name).items():
            totals[holder].add(sent.signed(own[name]).payload(), name)
    opened = {}
    for holder in HOLDERS:
        message = totals[holder].total("server").signed(own["server"]).payload()
        opened[holder] = KeyHolder(keys[holder], roster, "server", 16).open_coefficients(message, run)
    for some in itertools.combinations(HOLDERS, threshold):
        assert joined({holder: opened[holder] for holder in some}, split, DAY) == rows.sum(0).tolist()
    with pytest.raises(InputError, match=f"at least {threshold} holders"):
        SplitEncryptor(split, {"audit": public["audit"]}, DAY)
    with pytest.raises(InputError, match="got one of two"):
        SplitEncryptor(split, dict.fromkeys(HOLDERS, public["audit"]), DAY)
