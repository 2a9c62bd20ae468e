"""What a run says of mistakes in its overrides, of files and folders: one sentence each, and never a traceback."""

import errno
import re
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from hypothesis import assume, given
from hypothesis import strategies as st

from experiments.app import CONF
from experiments.groups import Group
from experiments.private_training import build_private_training
from experiments.refusals import explain
from tests.experiments.conftest import Runner
from tests.experiments.test_config import by_hydra, composed
from unlearn.errors import DataError, InputError

#: Traces of a foreign message: other packages' names and types, or several lines.
FOREIGN = re.compile(r"\n|OmegaConf|full_key|object_type|struct|Hydra|Optional|ListConfig|Config'|None|\.\.$|^\s*$")


def said_of(name: str, *overrides: str) -> str:
    """What is said of overrides of a program that cannot work."""
    with pytest.raises(Exception) as raised:  # noqa: PT011
        composed(name, *overrides)
    said = explain(raised.value, overrides)
    assert said is not None, repr(raised.value)
    assert not FOREIGN.search(said), said
    return said


def test_errors_that_came_from_each_other_are_explained() -> None:
    first, second = ConfigCompositionException("one"), ValueError("two")
    first.__cause__, second.__context__ = second, first
    assert explain(first) is not None


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["train", "data=tables"], ["data.load_csv: expected a table of loads in MW", "data.load_csv=VALUE"]),
        (["train", "data=tables", "data.load_csv=null"], ["data.load_csv: expected a value, got null"]),
        (["release", "households=npz"], ["households.path: expected a NumPy archive", "households.path=VALUE"]),
        (["detection", "households=lcl", "buildings=lead"], ["households.path", "buildings.path"]),
        (
            ["train", "forecaster=cnnn"],
            ["forecaster: expected one of cnn, linear, mixer; got 'cnnn'", "forecaster=cnn?"],
        ),
        (
            ["release", "generator=farady"],
            ["generator: expected one of faraday, faraday_overfit,", "generator=faraday?"],
        ),
        (["train", "hydra/launcher=slurm"], ["hydra/launcher: expected one of basic, joblib,"]),
        (["train", "data=null"], ["data: expected one of bigdeal2022,", "'null'"]),
        (["train", "forcaster=cnn"], ["forcaster: there is no such setting", "forecaster?"]),
        (["train", "data.yaer=2006"], ["data.yaer: there is no such setting", "data.year?"]),
        (
            ["train", "evaluation.xyz=1"],
            ["evaluation.xyz: there is no such setting", "evaluation.hours, evaluation.leave"],
        ),
        (["train", "data=tables", "data.load_csv=l.csv", "data.weather.t=t.csv"], ["write +data.weather.t="]),
        (["detection", "detection.rule={kind: a, att: 3}"], ["detection.rule.att", "detection.rule.at?"]),
        (["train", "seed=abc"], ["seed: expected a whole number, got 'abc'"]),
        (["train", "seed=null"], ["seed: expected a value, got null"]),
        (["train", "threads=true"], ["threads: expected a whole number, got 'True'"]),
        (["train", "split.core=much"], ["split.core: expected a number, got 'much'"]),
        (["fidelity", "synthesis.seeds=[0,b]"], ["synthesis.seeds[1]: expected a whole number, got 'b'"]),
        (["fidelity", "fidelity.hourly=perhaps"], ["fidelity.hourly: expected true or false, got 'perhaps'"]),
        (["fidelity", "fidelity.baselines=resampled"], ["fidelity.baselines: expected a list", "got text"]),
        (["train", "split=3"], ["split: expected settings", "split.NAME="]),
        (["poisoning", "poisoning.attacks=[{kind: scaling}]"], ["poisoning.attacks[0].strength: expected a value"]),
        (["train", "data.path=a=b"], ["data.path='a=b'"]),
        (["train", "data.path=/home/me/(1).csv"], ["data.path='/home/me/(1).csv'"]),
        (["train", "seed"], ["seed: expected an override such as seed=3"]),
        (["train", "seed=1,2"], ["seed=1,2: expected one value", "--multirun"]),
        (["train", "+seed=3"], ["+seed: there is such a setting already"]),
        (["train", "+sead=3"], ["sead: there is no such setting. Did you mean seed?"]),
        (["train", "++sead=3"], ["sead: there is no such setting. Did you mean seed?"]),
        (["train", "+evil._target_=os.system"], ["evil: there is no such setting."]),
        (["train", "+split.coer=0.3"], ["split.coer: there is no such setting. Did you mean split.core?"]),
        (["train", "+data.evil._target_=os.system"], ["data.evil: there is no such setting."]),
        (["train", "+data=tables"], ["+data: the group has a choice already"]),
        (["train", "data.path=${nope}"], ["nope"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_mistake_in_an_override_is_named_in_one_sentence(overrides: list[str], parts: list[str]) -> None:
    said = said_of(*overrides)
    for part in parts:
        assert part in said


@pytest.mark.parametrize(
    ("group", "text", "part"),
    [
        ("variant", "# @package _global_\nsead: 3\n", "sead: there is no such setting. Did you mean seed?"),
        ("variant", "# @package _global_\nsplit: {coer: 0.3}\n", "split.coer: there is no such setting."),
        ("forecaster", "l2: 0\n_target_: os.system\n", "forecaster._target_: expected a class"),
        ("data", "_target_: os.system\n", "data._target_: expected a class in the settings of forecaster,"),
        ("data", "defaults: [synthetic]\nevil: {_target_: os.system}\n", "data.evil: there is no such setting."),
    ],
)
def test_a_file_with_a_setting_that_nobody_knows_is_refused(group: str, text: str, part: str, tmp_path: Path) -> None:
    (tmp_path / group).mkdir()
    (tmp_path / group / "own.yaml").write_text(text)
    assert part in said_of("train", f"hydra.searchpath=[file://{tmp_path}]", f"{group}=own")


@given(group=st.sampled_from(["data", "forecaster", "grid", "generator", "households"]), word=st.text(max_size=12))
def test_an_unknown_choice_of_any_group_lists_the_choices(group: str, word: str) -> None:
    for name in ("train", "detection", "fidelity"):  # which know these groups, whatever ran before
        by_hydra(name)
    # A program that ran before may have made the group optional.
    none = ["none"] if "none.yaml" in ConfigStore.instance().list(group) else []
    known = sorted({*Group(group).choices(), *(path.stem for path in Path(CONF, group).glob("*.yaml")), *none})
    said = explain(MissingConfigException("words of Hydra", f"{group}/{word}", [*known, f"{group}_schema"]))
    assert said is not None
    if "/" not in word:
        assert said.startswith(f"{group}: expected one of {', '.join(known)}; got {word!r}.")


@given(value=st.text(min_size=1, max_size=12).filter(lambda text: "\0" not in text))
def test_any_value_in_quotes_is_read_as_it_stands(value: str) -> None:
    assume(not value.endswith("\\"))
    parser = OverridesParser.create()
    try:
        parser.parse_overrides([f"data.path={value}"])
    except OverrideParseException as error:
        said = explain(error, [f"data.path={value}"])
    else:
        return
    quoted = re.search(r'write "(.*)"\.$', said or "", re.DOTALL)
    assert quoted is not None, said
    assert parser.parse_overrides([quoted[1]])[0].value() == value


@pytest.mark.parametrize(
    ("code", "part"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "may not read or write"),
        (errno.EEXIST, "a file stands where a folder is expected"),
        (errno.ENOTDIR, "a file stands where a folder is expected"),
        (errno.EISDIR, "a folder stands where a file is expected"),
        (errno.EIO, "the system says"),
    ],
)
def test_what_the_system_refuses_is_said_with_path_and_remedy(code: int, part: str) -> None:
    said = explain(OSError(code, "words of the system", "some/where"))
    assert said is not None
    assert said.startswith("some/where: ")
    assert part in said
    assert str(OSError(code, "words")) not in said
    assert explain(OSError(code, "words")) is not None


def test_the_librarys_own_sentence_is_found_wherever_it_was_raised() -> None:
    wrapped = ValueError("Unable to configure handler")
    wrapped.__cause__ = DataError("load.csv: expected numbers.")
    assert explain(wrapped) == "load.csv: expected numbers."


def test_what_nobody_can_mend_keeps_its_traceback() -> None:
    assert explain(ZeroDivisionError("a bug")) is None
    assert explain(AssertionError()) is None


def refused(run: Runner, capsys: pytest.CaptureFixture[str], name: str, *overrides: str) -> str:
    """What a run that is refused says; it must not have a traceback."""
    with pytest.raises(SystemExit) as end:
        run(name, *overrides)
    assert end.value.code == 1
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert "Traceback" not in said
    return said


def test_a_missing_table_is_named_in_single_runs_and_in_sweeps(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    run.small = []
    for overrides in ([], ["hydra.mode=MULTIRUN", "seed=1,2"]):
        said = refused(run, capsys, "train", "data=tables", *overrides)
        assert "data.load_csv: expected a table of loads in MW, such as load.csv, got nothing." in said
        assert "omegaconf" not in said


def test_a_folder_of_results_that_is_a_file_is_named(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    (run.folder / "taken").write_text("a file")
    assert "a file stands where a folder is expected" in refused(run, capsys, "train", "hydra.run.dir=taken/run")
    said = refused(run, capsys, "train", "store=taken/store")
    assert "taken" in said
    assert "a file stands where a folder is expected" in said


def test_a_full_disk_is_said_to_be_full(
    run: Runner, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "records.parquet")

    monkeypatch.setattr("unlearn.records.write_parquet", full)
    assert "records.parquet: the disk is full" in refused(run, capsys, "train")


def test_kept_records_that_are_damaged_are_named(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("train")
    (folder / "records.parquet").write_bytes(b"no table")
    said = refused(run, capsys, "collect", f"records=[{folder}]")
    assert "records.parquet: expected the content that was written" in said
    assert "no table" not in said


def test_a_bug_keeps_its_traceback(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.train.build_study", None)
    with pytest.raises(TypeError):
        run("train")


def test_tracebacks_are_shown_where_they_are_asked_for(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="yaer") as raised:
        run("train", "data.yaer=3")
    assert not isinstance(raised.value, SystemExit | InputError)


def test_private_training_alone_trains_its_own_generator() -> None:
    assert composed("private_training").generator.name == "private_faraday"
    assert composed("leakage").generator.name == "faraday"
    with pytest.raises(InputError, match="Pass generator=private_faraday"):
        build_private_training(composed("private_training", "variant=tiny", "generator=faraday"))
