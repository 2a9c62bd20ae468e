"""The ledger of private fits: charged before, never paid back, whole or refused."""

import os
import signal
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn.dp import Charged, PrivacyLedger
from unlearn.errors import DataError, InputError

PEOPLE = [f"H{i}" for i in range(10)]


def test_charges_add_up_by_household(tmp_path: Path) -> None:
    ledger = PrivacyLedger(tmp_path / "kept" / "charges.jsonl")
    assert ledger.of(PEOPLE) == Charged(0.0, 0.0, 0, 0)
    with ledger.charged(PEOPLE[:6], 1.0, 0.01, "one") as total:
        assert total == Charged(1.0, 0.01, 1, 0)
        assert ledger.of(PEOPLE[:1]).unfinished == 1
    with ledger.charged(PEOPLE[4:], 0.5, 0.02, "two") as total:
        assert total == Charged(1.5, 0.03, 2, 0)
    assert ledger.of(["H9"]) == Charged(0.5, 0.02, 1, 0)
    assert ledger.of(["H5", "H9"]).epsilon == 1.5
    assert ledger.of(["somebody else"]).fits == 0
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
    assert "H5" not in ledger.path.read_text()


def test_a_fit_that_fails_stays_charged_and_the_next_is_charged_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = PrivacyLedger(tmp_path / "charges.jsonl")
    with pytest.raises(KeyboardInterrupt), ledger.charged(PEOPLE, 1.0, 0.01, "one"):
        raise KeyboardInterrupt
    with ledger.charged(PEOPLE, 1.0, 0.01, "the next") as total:
        assert total == Charged(2.0, 0.02, 2, 1)
    assert "does not go on and stays charged; the next is charged anew, epsilon = 2 in all" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="a fork is what is killed")
def test_a_fit_that_is_killed_stays_charged(tmp_path: Path) -> None:
    ledger = PrivacyLedger(tmp_path / "charges.jsonl")
    child = os.fork()
    if not child:
        with ledger.charged(PEOPLE, 1.0, 0.01, "one"):
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert ledger.of(PEOPLE) == Charged(1.0, 0.01, 1, 1)


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flip_goes_unseen(tmp_path_factory: pytest.TempPathFactory, at: float, bit: int) -> None:
    ledger = PrivacyLedger(tmp_path_factory.mktemp("flip") / "charges.jsonl")
    with ledger.charged(PEOPLE, 1.0, 0.01, "one"):
        pass
    content = bytearray(ledger.path.read_bytes())
    content[int(at * len(content))] ^= 1 << bit
    ledger.path.write_bytes(content)
    with pytest.raises(DataError, match=r"charges\.jsonl: expected a whole line.*bring the file back from a copy"):
        ledger.of(PEOPLE)


def test_what_was_cut_off_is_seen(tmp_path: Path) -> None:
    ledger = PrivacyLedger(tmp_path / "charges.jsonl")
    with ledger.charged(PEOPLE, 1.0, 0.01, "one"):
        pass
    ledger.path.write_bytes(ledger.path.read_bytes()[:-7])
    with pytest.raises(DataError), ledger.charged(PEOPLE, 1.0, 0.01, "two"):
        pytest.fail("nothing is fitted")


def test_what_cannot_be_charged_is_not_fitted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cases = [
        (tmp_path / "file" / "charges.jsonl", PEOPLE, 1.0, 0.01, "cannot be written"),
        (tmp_path / "a.jsonl", [], 1.0, 0.01, "expected the names"),
        (tmp_path / "a.jsonl", PEOPLE, 0.0, 0.01, "epsilon"),
        (tmp_path / "a.jsonl", PEOPLE, 1.0, 0.1, r"less than 1/N = 0\.1 for 10 households"),
    ]
    for path, people, epsilon, delta, message in cases:
        with pytest.raises(InputError, match=message), PrivacyLedger(path).charged(people, epsilon, delta, "one"):
            pytest.fail("nothing is fitted")
    assert not (tmp_path / "a.jsonl").exists()
