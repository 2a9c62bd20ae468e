"""What a member is, and jobs within one process."""

import json
import stat

import numpy as np
import pytest

from tests.privacy.federated.flower.parties import EXAMPLE, HERE, expected, vectors
from unlearn.errors import InputError, ProtocolError
from unlearn.privacy.federated import unpack
from unlearn.privacy.federated.flower import Member, run_locally


def test_a_job_gives_its_files_and_what_was_sent(tmp_path):
    members = vectors(tmp_path)
    folder = run_locally(f"{EXAMPLE}:sum_vectors", {"rounds": 2}, members, tmp_path / "result")
    np.testing.assert_allclose(unpack((folder / "sum.safetensors").read_bytes())["sum"], expected(members), rtol=1e-15)
    told = json.loads((folder / "traffic.json").read_text())
    assert told["messages"] == 2 * 2 * 3
    assert told["bytes"]["coordinator"] == sum(told["bytes"][one.name] for one in members)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_a_member_keeps_lasts_as_long_as_it_says(tmp_path):
    first, second, third = vectors(tmp_path)
    kept = Member(second.name, second.party, second.data, tmp_path / "kept")
    for number in (1, 2):
        folder = run_locally(f"{EXAMPLE}:sum_vectors", {}, [first, kept, third], tmp_path / f"result {number}")
        (told,) = json.loads((folder / "rounds.json").read_text())
        assert told["times"] == {first.name: 1, second.name: number, third.name: 1}
    assert stat.S_IMODE(kept.keeps.stat().st_mode) == 0o600


def test_a_member_is_what_its_file_says(tmp_path):
    own = Member("north", "package.module:function", tmp_path / "data", tmp_path / "kept")
    assert Member.read(own.write(tmp_path / "member.json")) == own
    (tmp_path / "near.json").write_text(json.dumps({"name": "a", "party": "b:c", "data": "data"}))
    assert Member.read(tmp_path / "near.json") == Member("a", "b:c", tmp_path / "data")


@pytest.mark.parametrize("text", ["", "[]", '{"name": "north"}', "\x00"])
def test_a_file_that_describes_no_member_is_refused(tmp_path, text):
    (tmp_path / "member.json").write_text(text)
    with pytest.raises(InputError, match="expected a JSON object with name, party, data"):
        Member.read(tmp_path / "member.json")


@pytest.mark.parametrize(
    ("name", "party", "match"),
    [
        ("coordinator", "a:b", "name of 1 to 100 printable"),
        ("", "a:b", "name of 1 to 100 printable"),
        ("two\nlines", "a:b", "name of 1 to 100 printable"),
        ("north", "a.b", "module:function"),
        ("north", "os; rm:x", "module:function"),
    ],
)
def test_what_is_no_member_is_refused(tmp_path, name, party, match):
    with pytest.raises(InputError, match=match):
        Member(name, party, tmp_path)


@pytest.mark.parametrize(
    ("job", "match"),
    [("no.such:job", "can be imported"), (f"{EXAMPLE}:nothing", "can be imported"), (f"{EXAMPLE}:_TASK", "a function")],
)
def test_a_job_that_is_none_is_refused(tmp_path, job, match):
    with pytest.raises(InputError, match=match):
        run_locally(job, {}, vectors(tmp_path), tmp_path / "result")


def test_results_stay_in_their_folder_and_replace_nothing(tmp_path):
    members = vectors(tmp_path)
    with pytest.raises(InputError, match="plain names"):
        run_locally(f"{HERE}:leaves_the_folder", {}, members, tmp_path / "result")
    assert not (tmp_path / "result").exists()
    run_locally(f"{HERE}:who", {}, members, tmp_path / "result")
    with pytest.raises(InputError, match="no result there yet"):
        run_locally(f"{HERE}:who", {}, members, tmp_path / "result")


def test_a_job_without_result_leaves_no_folder_and_members_hear_why(tmp_path, caplog):
    members = vectors(tmp_path)
    with pytest.raises(ProtocolError, match="at least 4 members"):
        run_locally(f"{EXAMPLE}:sum_vectors", {"threshold": 4}, members, tmp_path / "result")
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize("settings", [{"a": {1, 2}}, {"a": float("nan")}])
def test_settings_that_cannot_travel_are_refused(tmp_path, settings):
    with pytest.raises(InputError, match="JSON can hold"):
        run_locally(f"{HERE}:who", settings, vectors(tmp_path), tmp_path / "result")


def test_a_factory_gives_a_party_of_the_members_name(tmp_path):
    (first, *_) = vectors(tmp_path)
    with pytest.raises(InputError, match="expected a party named"):
        Member("other", f"{HERE}:north_party", first.data).build({})
