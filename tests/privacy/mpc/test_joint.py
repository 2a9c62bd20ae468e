"""Joint computations in processes of their own: results, who fails and how, and what a party sees of others."""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from tests.privacy.mpc.joint_programs import products
from unlearn.errors import InputError, MissingPackageError, ProtocolError
from unlearn.privacy.federated.messages import pack, unpack
from unlearn.privacy.mpc.context import rehearse, runtime
from unlearn.privacy.mpc.credentials import make_credentials
from unlearn.privacy.mpc.joint import JointOptions, Parties, compute
from unlearn.privacy.mpc.joint_party import _listen, _shapes
from unlearn.privacy.mpc.peers import PlainNumbers
from unlearn.privacy.mpc.programs.totals import total

TOTAL = "unlearn.privacy.mpc.programs.totals:total"
HERE = "tests.privacy.mpc.joint_programs"
NAMES = ("utility 1", "utility 2", "utility 3")
VALUES = {name: {"values": np.array([1.5, -2.0, 10.0**at])} for at, name in enumerate(NAMES)}

pytestmark = pytest.mark.extras


def view(program: str, others: int, n: int = 4000) -> list[np.ndarray]:
    """Every message of many numbers that the first party gets, as shares of its field in [0, 1).

    The first party connects to the others, so what comes back is messages alone: place, length, content.
    """
    inputs = {name: {"values": np.full(n, 7 if name == NAMES[0] else others)} for name in NAMES}
    outcome = compute(program, inputs, options=JointOptions(record=True))
    modulus, found = runtime().SecInt(64).field.modulus, []
    for received in outcome.received[NAMES[0]].values():
        while received:
            _, length = struct.unpack_from("<qI", received)
            message, received = received[12 : 12 + length], received[12 + length :]
            if length > n:
                numbers = PlainNumbers.loads(message)
                found.append(np.array([one / modulus for one in numbers.ravel().tolist()]))
    return found


def least_p(views: list[np.ndarray]) -> float:
    """Chi-square for uniformity of each message in 200 bins, the least p by Bonferroni."""
    counts = [np.histogram(one, bins=200, range=(0, 1))[0] for one in views]
    return min(stats.chisquare(one).pvalue for one in counts) * len(counts)


def test_a_total_is_that_of_a_rehearsal_and_costs_little() -> None:
    outcome = compute(TOTAL, {**VALUES, "helper": {}}, {"step": 0.5})
    expected = rehearse(total, VALUES, {"step": 0.5})["total"]
    np.testing.assert_array_equal(expected, [4.5, -6.0, 111.0])
    for learned in outcome.results.values():
        np.testing.assert_array_equal(learned["total"], expected)
    assert set(outcome.results) == {*NAMES, "helper"}
    assert all(0 < sent < 10_000 for sent in outcome.n_bytes.values())


@pytest.mark.parametrize("n_parties", [3, 5])
def test_products_need_messages_and_are_exact(n_parties: int) -> None:
    inputs = {f"party {at}": {"values": np.array([3, -4, 2**20]) * (at + 1)} for at in range(n_parties)}
    outcome = compute(f"{HERE}:products", inputs)
    assert all(learned["sums"] == [2 * (9 + 16 + 2**40)] for learned in outcome.results.values())
    assert rehearse(products, inputs)["sums"] == [2 * (9 + 16 + 2**40)]


def test_a_view_is_of_uniform_numbers_whatever_the_others_have() -> None:
    """At a level of 1e-6, for inputs' shares and for those that a product takes."""
    small, large = (view(f"{HERE}:products", others) for others in (0, 10**6))
    assert len(small) == len(large) >= 3
    assert least_p(small) > 1e-6
    assert least_p(large) > 1e-6
    both = [np.histogram(np.concatenate(one), bins=200, range=(0, 1))[0] for one in (small, large)]
    assert stats.chi2_contingency(both).pvalue > 1e-6


def test_the_test_of_views_notices_numbers_that_are_not_hidden() -> None:
    assert least_p(view(f"{HERE}:in_the_clear", 10**6)) < 1e-6


def test_what_a_comparison_opens_does_not_tell_guesses_apart() -> None:
    """A right guess fits by chance with a probability of about 2^-128."""
    inputs = {NAMES[0]: {}, NAMES[1]: {"secret": np.array([4711])}, NAMES[2]: {}}
    outcome = compute(f"{HERE}:guessed", inputs, {"guesses": [4711, 4712]})
    assert [learned["fits"].tolist() for learned in outcome.results.values()] == [[0, 0]] * 3


@pytest.mark.parametrize("n_parties", [3, 5])
def test_comparisons_and_divisions_of_single_numbers_are_right(n_parties: int) -> None:
    inputs = {f"party {at}": {"values": np.array([3 + at, 4])} for at in range(n_parties)}
    outcome = compute(f"{HERE}:numbers", inputs)
    assert [learned["found"].tolist() for learned in outcome.results.values()] == [[1, 0, 0, 1, 0]] * n_parties


def test_a_setting_by_which_products_would_show_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime().options, "no_prss", True)
    with pytest.raises(InputError, match="MPYC_NOPRSS: expected it unset"):
        runtime()


def test_a_party_that_vanishes_is_named_at_all_others() -> None:
    with pytest.raises(ProtocolError) as told:
        compute(f"{HERE}:killed", VALUES, {"who": "utility 2", "step": 0.5})
    for name in ("utility 1", "utility 3"):  # whoever notices first tells the other
        assert re.search(rf"{name}: (utility \d takes no further part: )?utility 2 vanished", str(told.value))


def test_bytes_that_are_no_numbers_end_the_computation_at_all() -> None:
    with pytest.raises(ProtocolError, match="shares: expected an array of whole numbers") as told:
        compute(f"{HERE}:garbled", VALUES, {"who": "utility 2", "step": 0.5})
    assert "expected an end within" not in str(told.value)


def test_a_party_that_is_silent_is_named_when_the_time_is_over() -> None:
    with pytest.raises(ProtocolError, match="expected an end within 3 s"):
        compute(f"{HERE}:stuck", VALUES, {"who": "utility 3", "step": 0.5}, JointOptions(timeout_s=3))


def test_a_refusal_tells_others_no_values() -> None:
    with pytest.raises(InputError) as told:
        compute(f"{HERE}:refused", VALUES, {"who": "utility 2", "step": 0.5})
    own, *others = str(told.value).split(";")
    assert "utility 2: values: expected at most 12, got 4711" in own
    assert len(others) == 2
    assert all("utility 2 takes no further part: it refused (InputError)" in one for one in others)
    assert not any("4711" in one for one in others)


def test_what_all_refuse_is_told_by_who_refuses_it_first() -> None:
    with pytest.raises(InputError, match=r"result\. utility \d: step: expected a positive number"):
        compute(f"{HERE}:refused_by_all", VALUES)


def test_numbers_that_are_none_are_refused_before_they_are_shared() -> None:
    broken = {**VALUES, "utility 3": {"values": np.array([np.nan, 1.0, 1.0])}}
    with pytest.raises(InputError, match="utility 3: utility 3: expected finite numbers in 'values'"):
        compute(TOTAL, broken)
    with pytest.raises(InputError, match="expected finite numbers"):
        rehearse(total, broken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TOTAL, dict(list(VALUES.items())[:2])), "expected at least 3, so that no single one"),
        ((TOTAL, VALUES, {"step": object()}), "parameters that JSON can hold"),
        (("nowhere:total", VALUES), "expected module:function, got 'nowhere:total'"),
        ((TOTAL.replace(":", "."), VALUES), "a colon is missing"),
        ((TOTAL, VALUES, {}, JointOptions(threshold=2)), "threshold: expected 1 to 1 for 3 parties, got 2"),
    ],
)
def test_bad_input_is_refused_before_processes_start(arguments: tuple, message: str) -> None:
    with pytest.raises((InputError, ProtocolError), match=message):
        compute(*arguments)


class Elsewhere(Parties):
    """Parties of which one is told something else than the others."""

    other: dict

    def settings(self, at: int, credentials: tuple) -> object:
        settings = super().settings(at, credentials)
        if at != 2:
            return settings
        return type(settings)(**{**settings.__dict__, **self.other})


@pytest.mark.parametrize(
    "other", [{"session": "0" * 32}, {"public": {"step": 0.25}}, {"program": f"{HERE}:products"}, {"timeout_s": 99.0}]
)
def test_another_run_program_or_parameter_is_found_before_anything_is_shared(other: dict) -> None:
    class Other(Elsewhere):
        pass

    Other.other = other
    with (
        Other(TOTAL, VALUES, {"step": 0.5}, JointOptions(timeout_s=20)) as parties,
        pytest.raises(ProtocolError, match="expected the same run, program, parameters and parties at all, got others"),
    ):
        parties.outcome()


def test_a_party_cannot_pose_as_another() -> None:
    """With the certificate of the second it comes as the first: the third takes no such connection."""

    class Posing(Parties):
        def settings(self, at: int, credentials: tuple) -> object:
            stolen = tuple(path.replace("party-0", "party-1") for path in credentials)
            return super().settings(at, stolen if at == 0 else credentials)

    with (
        Posing(TOTAL, VALUES, {"step": 0.5}, JointOptions(timeout_s=10)) as parties,
        pytest.raises(ProtocolError, match="a certificate of 'utility 2' came as party 1"),
    ):
        parties.outcome()


def test_a_certificate_of_another_authority_is_refused(tmp_path) -> None:
    foreign = make_credentials(tmp_path, NAMES)

    class Foreign(Parties):
        def settings(self, at: int, credentials: tuple) -> object:
            own = foreign[self.names[at]]
            paths = (str(own.authority), str(own.certificate), str(own.key))
            return super().settings(at, paths if at == 1 else credentials)

    with (
        Foreign(TOTAL, VALUES, {"step": 0.5}, JointOptions(timeout_s=10)) as parties,
        pytest.raises(ProtocolError, match="utility 1: utility 2: expected a certificate of the common authority"),
    ):
        parties.outcome()


def test_each_party_may_run_on_a_machine_of_its_own(tmp_path) -> None:
    made, ports = make_credentials(tmp_path, NAMES), []
    for _ in NAMES:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
    addresses = {name: ["127.0.0.1", port] for name, port in zip(NAMES, ports, strict=True)}
    common = {
        "names": NAMES,
        "program": TOTAL,
        "public": {"step": 0.5},
        "session": "1",
        "threshold": 1,
        "timeout_s": 60,
    }
    running = []
    for at, name in enumerate(NAMES):
        own = made[name]
        files = [str(own.authority), str(own.certificate), str(own.key)]
        (tmp_path / f"{at}.json").write_text(
            json.dumps({**common, "index": at, "credentials": files, "addresses": addresses})
        )
        (tmp_path / f"{at}.in").write_bytes(pack(VALUES[name]))
        paths = [str(tmp_path / f"{at}.{end}") for end in ("json", "in", "out")]
        running.append(subprocess.Popen([sys.executable, "-m", "unlearn.privacy.mpc.joint_party", *paths]))
    assert [one.wait(60) for one in running] == [0, 0, 0]
    results = [unpack((tmp_path / f"{at}.out").read_bytes())["total"].tolist() for at in range(3)]
    assert results == [[4.5, -6.0, 111.0]] * 3


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 0), (2, 3)])
def test_shares_are_written_as_plain_numbers(shape: tuple[int, ...]) -> None:
    values = np.array([2**at for at in range(int(np.prod(shape)))], dtype=object).reshape(shape)
    read = PlainNumbers.loads(PlainNumbers.dumps(values))
    assert read.shape == shape
    assert read.tolist() == values.tolist()
    with pytest.raises(ProtocolError, match="expected an array of whole numbers"):
        PlainNumbers.loads(PlainNumbers.dumps(values)[:-1] if values.size else b"\x05")


@pytest.mark.parametrize(("ndim", "width", "shape"), [(0, 0, ()), (1, 0, (5,)), (255, 1, (0,) * 255)])
def test_shapes_that_no_array_has_are_refused(ndim: int, width: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolError, match="expected an array of whole numbers"):
        PlainNumbers.loads(struct.pack(f">BI{ndim}I", ndim, width, *shape))


@pytest.mark.parametrize(
    "told", [None, [], {"a": 3}, {"a": [-1]}, {"a": [True]}, {"a": [2**20, 2**20]}, {"a": [0] * 99}]
)
def test_shapes_that_no_party_has_are_refused(told: object) -> None:
    with pytest.raises(ProtocolError, match="utility 1: expected shapes of arrays"):
        _shapes("utility 1", told)
    assert _shapes("utility 1", {"a": [2, 3], "b": []}) == {"a": (2, 3), "b": ()}


def test_a_party_comes_back_at_once_to_its_address() -> None:
    with _listen(("127.0.0.1", 0)) as first:
        address = first.getsockname()
        with socket.create_connection(address) as other:
            first.accept()[0].close()
            assert other.recv(1) == b""
    with _listen(address) as again:
        assert again.getsockname() == address


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpyc", None)
    with pytest.raises(MissingPackageError, match=r"unlearn\[mpc\]"):
        compute(TOTAL, VALUES)
