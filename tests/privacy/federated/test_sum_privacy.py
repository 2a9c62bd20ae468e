"""What a coordinator and other members see of a member's vector: numbers that are uniform in the ring, and no other."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from tests.privacy.federated.federation import NAMES, Federation
from unlearn.errors import ProtocolError
from unlearn.privacy.federated import FixedPoint, SumOptions, secure_sum
from unlearn.privacy.federated.messages import unpack
from unlearn.privacy.federated.sharing import recover
from unlearn.privacy.federated.sum_protocol import KEYS, MASKED, SHARES, UNMASK, About, Graph, digest

#: Below this probability a test fails by chance.
LEVEL = 1e-7
FIXED = FixedPoint()


def masked_of(channel, name):
    """The masked vector that a member sent, from the traffic."""
    (sent,) = (one for one in channel.traffic.sent if (one.task, one.sender) == (MASKED, name))
    return unpack(sent.content)["masked"]


def byte_counts(ring):
    """How often each value stands at each of the 24 places of a byte, shape (24, 256)."""
    bytes_ = np.ascontiguousarray(ring).view(np.uint8).reshape(len(ring), -1)
    return np.stack([np.bincount(column, minlength=256) for column in bytes_.T])


@pytest.fixture(scope="module")
def two_sums():
    """Zeros and large numbers of two members, 20,000 each, with the traffic of two sums."""
    federation = Federation(NAMES[:3], n=20_000)
    federation.vectors["east"] = np.zeros(20_000)
    federation.vectors["north"] = np.full(20_000, 123456.789)
    channels = []
    for _ in range(2):
        channels.append(federation.channel())
        secure_sum(channels[-1], "vectors")
    return federation, channels


def test_a_masked_vector_is_uniform_whatever_is_in_it(two_sums):
    _, channels = two_sums
    for channel in channels:
        for name in ("east", "north"):
            counts = byte_counts(masked_of(channel, name))
            statistic = ((counts - 20_000 / 256) ** 2 / (20_000 / 256)).sum(axis=1)
            assert stats.chi2.sf(statistic, 255).min() > LEVEL / 96


def test_masked_vectors_of_two_inputs_are_alike(two_sums):
    _, (channel, _) = two_sums
    zeros, large = (byte_counts(masked_of(channel, name)) for name in ("east", "north"))
    for one, other in zip(zeros, large, strict=True):
        assert stats.chi2_contingency(np.stack([one, other])).pvalue > LEVEL / 24


def test_masked_vectors_of_one_input_say_nothing_together(two_sums):
    """Masks of two sums have nothing in common: their difference is uniform, too."""
    _, channels = two_sums
    for name in ("east", "north"):
        first, second = (masked_of(channel, name) for channel in channels)
        counts = byte_counts(FIXED.add(first, FIXED.negate(second)))
        statistic = ((counts - 20_000 / 256) ** 2 / (20_000 / 256)).sum(axis=1)
        assert stats.chi2.sf(statistic, 255).min() > LEVEL / 48


def test_entries_of_a_mask_are_not_alike(two_sums):
    federation, (channel, _) = two_sums
    own = FIXED.add(masked_of(channel, "north"), FIXED.negate(FIXED.encode(federation.vectors["north"])))
    assert len(np.unique(own)) == own.size  # 60,000 of 2^64 are all different but for 1e-10


@pytest.fixture(params=[None, SumOptions(threshold=3, neighbours=2)], ids=["all", "ring"])
def seen(request):
    """A sum in which one member vanished late, and all of its traffic."""
    federation = Federation(n=40, options=request.param)
    channel = federation.channel(lost=lambda task, name, before: (task, name) == (MASKED, "south"))
    secure_sum(channel, "vectors", options=request.param)
    return federation, channel


def test_no_part_of_the_masked_vectors_sums_to_that_of_the_vectors(seen):
    federation, channel = seen
    stayed = [name for name in NAMES if name != "south"]
    plain = {name: FIXED.encode(federation.vectors[name]) for name in stayed}
    masked = {name: masked_of(channel, name) for name in stayed}
    for size in range(1, 5):
        for some in combinations(stayed, size):
            for others in [()] if size > 1 else [(), *((own,) for own in stayed if own not in some)]:
                left, right = np.zeros((2, 40, 3), dtype=np.uint64)
                for name in some:
                    left, right = FIXED.add(left, plain[name]), FIXED.add(right, masked[name])
                for name in others:  # differences of two
                    left = FIXED.add(left, FIXED.negate(plain[name]))
                    right = FIXED.add(right, FIXED.negate(masked[name]))
                assert not (left == right).all(axis=1).any()


def test_no_message_holds_an_entry_of_a_vector(seen):
    federation, channel = seen
    for one in channel.traffic.sent:
        for name in NAMES:
            vector = federation.vectors[name]
            # 8 bytes that occur by chance in 100 kB with 1e-14; the long words of the ring hold the entry, too.
            for entry in [*vector, *FIXED.encode(vector)]:
                assert entry.tobytes() not in one.content


def test_no_member_receives_a_masked_vector_nor_shares_it_can_read_of_two_others(seen):
    _, channel = seen
    for name in NAMES:
        sent = [masked_of(channel, other).tobytes() for other in NAMES if other not in (name, "south")]
        received = b"".join(one.content for one in channel.traffic.seen_by(name))
        assert not any(own[:24] in received for own in sent)
        # What is encrypted for others does not come here.
        sealed = {
            other: {row.tobytes() for row in channel.told[MASKED, other]["sealed"]}
            for other in NAMES
            if (MASKED, other) in channel.told
        }
        assert not any(sealed[name] & own for other, own in sealed.items() if other != name)


def test_of_each_member_the_seed_or_the_key_is_revealed_and_not_both(seen):
    _, channel = seen
    answers = {
        (one.task, one.sender): unpack(one.content)
        for one in channel.traffic.sent
        if one.receiver == "coordinator" and one.task in (SHARES, UNMASK)
    }
    shown = {name: own for (task, name), own in answers.items() if task == UNMASK}
    keys = channel.told[SHARES, "east"]
    about = About.read(channel.told[KEYS, "east"]["about"].tobytes())
    graph = Graph.of(about, NAMES, digest(*(keys[what].tobytes() for what in ("from", "mask_key", "share_key"))))
    for i, name in enumerate(NAMES):
        held = {}
        for holder, own in shown.items():
            assert len(set(own["of"].tolist())) == len(own["of"])
            if i in own["of"]:
                held[holder] = own["shares"][own["of"].tolist().index(i)].tobytes()
        places = {NAMES[holder]: at for at, holder in enumerate(graph.holders(i), start=1)}
        shares = {places[holder]: share for holder, share in held.items()}
        commitments = answers[SHARES, name]
        right, wrong = ("key", "seed") if name == "south" else ("seed", "key")
        recover(shares, graph.threshold, commitments[f"{right}_commitment"].tobytes())
        with pytest.raises(ProtocolError, match="one secret"):
            recover(shares, graph.threshold, commitments[f"{wrong}_commitment"].tobytes())


@pytest.mark.extras
def test_masks_of_flower_are_the_same_for_keys_of_one_fold():
    """Why its SecAgg+ is not used: 32 bytes are folded to 32 bits, and whoever sees a masked vector tries all."""
    utils = pytest.importorskip("flwr.common.secure_aggregation.secaggplus_utils")
    first = np.random.default_rng(0).integers(0, 2**32, 8, dtype=np.uint32)
    second = first.copy()
    second[[1, 6]] ^= np.uint32(0xDEADBEEF)
    masks = [utils.pseudo_rand_gen(key.tobytes(), 1 << 32, [(1000,)])[0] for key in (first, second)]
    assert (first != second).any()
    np.testing.assert_array_equal(*masks)
    # And it is a Mersenne Twister: numpy's, seeded with the fold, gives the same.
    twister = np.random.RandomState(np.bitwise_xor.reduce(first))
    np.testing.assert_array_equal(twister.randint(0, (1 << 32) - 1, (1000,), dtype=np.int64), masks[0])
