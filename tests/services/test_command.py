"""The command `unlearn`: its words, exit codes and messages, and what it leaves behind when it refuses."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from unlearn.services import actions
from unlearn.services.command import DONE, NOT_COMPLETE, NOT_VERIFIED, REFUSED, _parser, main

COMMANDS = ("sample", "train", "plan", "forget", "certify", "verify", "report", "restore")


class Said(NamedTuple):
    """What a call of the command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Said]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call("report", "--json")`: the command in this process."""

    def called(*arguments: object) -> Said:
        capsys.readouterr()
        try:
            code = main([str(own) for own in arguments])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return Said(code, *capsys.readouterr())

    return called


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with meters, a registry of them, and the certificate of a customer's request."""
    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    try:
        for arguments in (
            ("sample", "meters.csv", "--customers", "60", "--days", "60"),
            ("train", "meters.csv", "--lags", "24", "--loads", "2"),
            ("forget", "--customer", "SIM000007", "--no-measure"),
            ("certify", "R-000001"),
        ):
            assert main(arguments) == DONE
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, in which the command runs."""
    folder = tmp_path / "here"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def empty(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with meters alone."""
    folder = tmp_path / "empty"
    folder.mkdir()
    shutil.copy(made / "meters.csv", folder)
    monkeypatch.chdir(folder)
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {
        own.relative_to(folder).as_posix(): own.read_bytes()
        for own in folder.rglob("*")
        if own.is_file() and own.name != ".lock"
    }


def test_what_each_word_says(call: Call, here: Path) -> None:
    found = call("forget", "--customer", "SIM000007")
    assert found.code == DONE
    assert "R-000001: what was asked for was forgotten before, in 1 model: exact." in found.out
    assert "Nothing was done now" in found.out
    found = call("plan", "--customer", "SIM000008", "SIM000009")
    assert found.out.startswith("R-000002: 2 customers. Nothing is changed yet.")
    assert found.out.rstrip().endswith("To do it: unlearn forget R-000002")
    found = call("forget", "R-000002", "--retain-days", "0", "--no-measure")
    assert found.code == DONE
    assert "The keys of the versions before are destroyed; nothing undoes it." in found.out
    found = call("certify", "R-000002", "--out", "given")
    assert "read " in found.out
    assert {own.name for own in Path("given").iterdir()} >= {"certificate.json", "page.html"}
    found = call("verify")
    assert (found.code, found.out.splitlines()[0]) == (DONE, "The ledger of deletions: valid.")
    found = call("report", "--page", "overview.html")
    assert found.out.startswith("meters (deletions): 2 requests applied, 0 waiting; all of them complete")
    assert "R-000002" in Path("overview.html").read_text(encoding="utf-8")
    found = call("train", "--model", "linear", "--name", "second")
    assert (found.code, found.out.splitlines()[0][:15]) == (DONE, "second: trained")
    every = "".join(own.read_text(encoding="utf-8", errors="ignore") for own in here.rglob("*.html"))
    assert "SIM0000" not in every


def test_json_stands_alone_on_stdout(call: Call, here: Path) -> None:
    words: tuple[tuple[str, ...], ...] = (
        ("report",), ("verify",), ("verify", "certificates/R-000001"), ("plan", "--hours", "2013-01-20", "2013-01-21"),
        ("forget", "R-000002", "--no-measure"), ("certify", "R-000002"), ("restore", "R-000002"),
        ("train", "--model", "linear", "--name", "third"), ("sample", "other.csv", "--customers", "2", "--days", "2"),
    )  # fmt: skip
    for own in words:
        found = call(*own, "--json")
        assert (found.code, found.err) == (DONE, ""), own
        assert isinstance(found.json, dict)
    found = call("forget", "R-000009", "--json")
    assert (found.code, found.err) == (REFUSED, "")
    assert "R-000009" in found.json["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND. See unlearn --help."),
        (("bogus",), "invalid choice: 'bogus'"),
        (("forget",), "expected requests such as R-000001, or what to forget, such as --customer NAME; not both."),
        (("forget", "R-000001", "--customer", "A"), "not both."),
        (("forget", "R-000009"), "expected the id of a request such as R-000001, got 'R-000009'"),
        (("plan",), "expected customers, loads or hours to forget, got none of them."),
        (("plan", "--customer", "C7"), "got 1 that it does not have: C7. Names must be alike to the letter."),
        (("plan", "--customer", "SIM000007"), "applied on"),
        (("plan", "--customer", "SIM000008", "SIM000007"), "SIM000007 (by R-000001) was forgotten before."),
        (("plan", "--customer", "A", "--load", "bus_1"), "Make two requests"),
        (("plan", "--hours", "2013-01-12", "2013-01-10"), "expected a start before the end"),
        (("plan", "--hours", "yesterday", "today"), "expected a date such as"),
        (("plan", "--hours", "1999-01-01", "1999-01-02"), "expected hours of the data, got none of them"),
        (("plan", "--flagged", "nofile.csv"), "nofile.csv: cannot be read: there is no such file"),
        (("plan", "--tunings", "magic", "--customer", "SIM000008"), "magic"),
        (("forget", "--customer", "SIM000008", "--retain-days", "-1"), "retain_days: expected a number of at least 0"),
        (("plan", "--load", "bus_1", "bus_2"), "got all 2 of the data set; nothing would remain."),
        (("forget", "--load", "bus_1", "bus_2"), "got all 2 of the data set; nothing would remain."),
        (("certify", "R-7"), "expected the id of a request such as R-000001, got 'R-7'"),
        (("restore", "R-7"), "expected the id of a request such as R-000001, got 'R-7'"),
        (("verify", "nofolder"), "expected the folder of a certificate"),
        (("verify", "--customer", "SIM000007"), "expected the folder of a certificate with --customer, got none."),
        (("verify", "--retrain"), "retrain: expected a certificate and the registry with its key"),
        (("forget", "--customer", "SIM000007", "--case", "stays"), "case: expected one of leaves, objects; got"),
        (("verify", "certificates/R-000001", "--registry", "nowhere"), "proves nothing by the key that it carries"),
        (("report", "--registry", "nowhere"), "expected a registry, got no registry.db in it. Name its folder"),
        (("report", "--key", "meters.csv"), "expected the key of a registry, got another file."),
        (("report", "--key", "nofile.key"), "expected the key of the registry, got no such file."),
        (("report", "--key", "other.key"), "expected the key that this registry was made with"),
        (("train", "meters.csv"), "got one that holds a registry. Leave the meters out to add a model to it"),
        (("train",), "got 'linear', which is registered already. Choose another."),
        (("train", "--model", "oracle"), "expected one of linear, cnn, mixer, faraday, certified, autoencoder, gan"),
        (("train", "--model", "linear", "cnn", "--name", "x"), "expected one model with --name, got several."),
        (("train", "--name", "Bad Name"), "expected up to 40 small letters"),
        (("train", "--name", "x", "--tune", "scale"), "expected a grid, for forecasts are tuned for what they cost"),
        (("train", "--name", "x", "--loads", "3"), "--loads: expected with METERS alone"),
        (("sample", "meters.csv"), "expected a name that is free, got a file."),
    ],
)  # fmt: skip
def test_what_is_refused_is_said_in_one_line_and_changes_nothing(
    call: Call, here: Path, arguments: tuple[str, ...], message: str
) -> None:
    (here / "other.key").write_text(f"unlearn-registry-key:{'A' * 43}=\n")
    before = _files(here)
    found = call(*arguments)
    assert found.code == REFUSED
    assert found.out == ""
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
    assert message in found.err
    assert _files(here) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nofile.csv",), "nofile.csv: cannot be read: there is no such file"),
        (("empty.csv",), "empty.csv: expected a CSV"),
        (("no_times.csv",), "no_times.csv: expected a column timestamp and one per customer"),
        (("meters.csv", "--grid", "ieee15"), "grid 'ieee15': no such case. Did you mean"),
        (("meters.csv", "--grid", "ieee14", "--loads", "3"), "expected one with 3 loads, as meters has, got ieee14"),
        (("meters.csv", "--loads", "0"), "expected a whole number of at least 1, got 0."),
        (("meters.csv", "--loads", "61"), "expected at most the number of customers (60), got 61."),
        (("meters.csv", "--lags", "5000"), "expected more hours than the longest lag, 5000, got 1440."),
        (("meters.csv", "--model", "linear", "linear"), "linear"),
        (("meters.csv", "--model", "oracle"), "expected one of linear, cnn"),
        (("meters.csv", "--tune", "scale"), "expected a grid, for forecasts are tuned"),
        (("meters.csv", "--tune", "magic", "--grid", "ieee9"), "expected one of scale, affine"),
        (("meters.csv", "--name", "Bad Name"), "expected up to 40 small letters"),
        (("meters.csv", "--retention", "-1"), "expected a number of at least 0"),
        (("meters.csv", "--assignment", "meters.csv"), "expected the columns customer and load"),
        (("meters.csv", "--assignment", "half.csv"), "SIM000001"),
        (("meters.csv", "--weather", "weather.csv"), "expected a row for each hour of the meters, got none for"),
        (("meters.csv", "--key", "deletions/key"), "a copy of the registry must not hold its key."),
    ],
)
def test_a_refused_training_leaves_neither_registry_nor_key(
    call: Call, empty: Path, arguments: tuple[str, ...], message: str
) -> None:
    Path("empty.csv").write_text("")
    Path("no_times.csv").write_text("a,b\n1,2\n")
    Path("half.csv").write_text("customer,load\nSIM000000,one\n")
    Path("weather.csv").write_text("timestamp,temperature\n2013-01-01 00:00,3.5\n")
    before = _files(empty)
    found = call("train", *arguments)
    assert (found.code, found.out) == (REFUSED, "")
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
    assert message in found.err
    assert _files(empty) == before
    assert not Path("deletions").exists()


def test_interrupted_everything_is_as_before(call: Call, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unlearn.services.learners.forecasting.ForecastLearner.forget", interrupted)
        patch.setattr("unlearn.services.learners.forecasting.ForecastLearner.fit", interrupted)
        before = call("report", "--json").json
        for arguments in (("forget", "--customer", "SIM000008"), ("train", "--name", "x")):
            found = call(*arguments)
            assert (found.code, found.out) == (130, "")
            assert found.err == "interrupted; what was not finished is as it was before\n"
        found = call("train", "meters.csv", "--registry", "new")
        assert (found.code, Path("new").exists(), Path("new.key").exists()) == (130, False, False)
    after = call("report", "--json").json
    for own in ("data", "models", "retained"):
        assert after[own] == before[own]
    assert call("verify").code == DONE
    assert call("forget", "--customer", "SIM000008", "--no-measure").code == DONE


def test_what_was_trained_before_a_refusal_is_kept_and_said(call: Call, empty: Path) -> None:
    found = call("train", "meters.csv", "--loads", "2", "--model", "linear", "faraday", "--shards", "60")
    assert found.code == REFUSED
    assert "What was trained before is kept: linear in deletions." in found.err
    assert [own["name"] for own in call("report", "--json").json["models"]] == ["linear"]


def test_verify_finds_what_is_wrong(call: Call, here: Path) -> None:
    folder = here / "certificates" / "R-000001"
    public = ("--public-key", "deletions/registry.pub")
    assert call("verify", folder).code == DONE
    assert call("verify", folder, *public, "--registry", "nowhere").code == DONE
    found = call("verify", folder, "--customer", "SIM000007")
    assert (found.code, found.out.splitlines()[-1]) == (DONE, "  It is about the customer that was named.")
    found = call("verify", folder, "--customer", "SIM000008", "--json")
    assert (found.code, found.json["valid"], found.json["about_customer"]) == (NOT_VERIFIED, True, False)

    assert call("train", "meters.csv", "--registry", "second", "--loads", "2", "--lags").code == DONE
    for own in (("--registry", "second"), ("--public-key", "second/registry.pub")):
        found = call("verify", folder, *own)
        assert (found.code, found.out.splitlines()[0].endswith("NOT VALID.")) == (NOT_VERIFIED, True)
        assert "  FAULT: " in found.out

    edited = here / "edited"
    shutil.copytree(folder, edited)
    text = (edited / "certificate.json").read_text(encoding="utf-8")
    (edited / "certificate.json").write_text(text.replace('"n_customers":1', '"n_customers":2'), encoding="utf-8")
    for own in ((), public):
        assert call("verify", edited, *own).code == NOT_VERIFIED

    assert call("restore", "R-000001").code == DONE
    found = call("verify", folder)
    assert found.code == NOT_VERIFIED
    assert "restored" in found.out
    assert call("certify", "R-000001").code == REFUSED
    assert "complete" not in [own["guarantee"] for own in call("report", "--json").json["requests"]]


def test_what_is_not_complete_has_an_exit_code_of_its_own(
    call: Call, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from unlearn.services.learners.forecasting import ForecastLearner

    whole = ForecastLearner.forget
    monkeypatch.setattr(
        ForecastLearner, "forget",
        lambda *own: replace(whole(*own), complete=False, limitations=("The extractor saw what is removed.",)),
    )  # fmt: skip
    found = call("forget", "--customer", "SIM000010", "--no-measure")
    assert found.code == NOT_COMPLETE
    assert "NOT complete" in found.out.splitlines()[0]
    assert "The extractor saw what is removed." in found.out


def test_files_that_it_reads(call: Call, empty: Path) -> None:
    wide = pd.read_csv("meters.csv", index_col="timestamp")
    names = list(wide)[:8]
    wide[names].to_csv("wide.csv")
    pd.DataFrame({"customer": names, "load": ["north", "south"] * 4}).to_csv("loads.csv", index=False)
    hours = pd.to_datetime(wide.index)
    temperature = 5 + 3 * np.sin(np.arange(len(hours)) / 24)
    pd.DataFrame({"timestamp": hours, "temperature": temperature}).to_csv("weather.csv", index=False)
    flagged = pd.DataFrame({"timestamp": hours[200:210], "flagged": [True, False] * 5})
    flagged.to_csv("flagged.csv", index=False)
    given = ("--assignment", "loads.csv", "--weather", "weather.csv", "--lags", "--retention", "0", "--json")
    found = call("train", "wide.csv", *given)
    assert found.code == DONE, found.err
    report = call("report", "--json").json
    assert [(own["n_customers"], own["n_loads"], own["n_hours"]) for own in report["data"]] == [(8, 2, len(hours))]
    found = call("forget", "--flagged", "flagged.csv", "--load", "north", "--no-measure", "--json")
    assert found.code == DONE, found.err
    request = found.json["requests"][0]["request"]
    assert (request["n_hours"], request["loads"]) == (5, ["north"])
    assert call("report", "--json").json["retained"] == []

    half = pd.date_range(hours[0], periods=2 * len(hours), freq="30min")
    rows = pd.concat(
        pd.DataFrame(
            {"LCLid": own, "stdorToU": "Std", "DateTime": half.strftime("%Y-%m-%d %H:%M:%S.0000000"),
             "KWH/hh (per half hour) ": np.repeat(wide[own].to_numpy() / 2, 2).round(3), "Acorn": "ACORN-A",
             "Acorn_grouped": "Affluent"}
        )
        for own in names
    )  # fmt: skip
    rows.to_csv("lcl.csv", index=False)
    found = call("train", "lcl.csv", "--registry", "lcl", "--loads", "2", "--lags")
    assert found.code == DONE, found.err
    assert found.out.startswith("8 customers, 2 loads")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    parser = _parser()
    (commands,) = (own for own in parser._actions if own.dest == "command")
    assert commands.choices is not None
    own = commands.choices[name]
    assert own.description
    assert own.description[0].isupper()
    for option in own._actions:
        assert option.help, f"{name} {option.dest}"
        assert len(option.help.split()) >= 2, f"{name} {option.dest}"
    assert hasattr(actions, name)
    assert f"    unlearn {name} " in str(parser.description) or name in ("report", "restore")


@pytest.mark.slow
def test_as_a_process(here: Path) -> None:
    found = _process("report", "--json")
    assert (found.returncode, found.stderr) == (DONE, "")
    assert json.loads(found.stdout)["requests"][0]["id"] == "R-000001"


@pytest.mark.slow
def test_from_meters_to_a_verified_certificate_in_four_commands(empty: Path) -> None:
    for arguments in (
        ("train", "meters.csv", "--model", "linear", "cnn", "--epochs", "3", "--grid", "ieee14", "--json"),
        ("forget", "--customer", "SIM000007", "--json"),
        ("certify", "R-000001", "--json"),
        ("verify", "certificates/R-000001", "--json"),
    ):
        found = _process(*arguments)
        assert found.returncode == DONE, found.stderr
        assert "Traceback" not in found.stderr
        said = json.loads(found.stdout)  # progress went elsewhere
    assert said["valid"]
    found = _process("verify", "certificates/R-000001", "--key", "nofile.key", "--public-key", "nofile.pub")
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (REFUSED, "", 1)


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(actions.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("TQDM_DISABLE", None)
    return subprocess.run(
        [sys.executable, "-m", "unlearn", *arguments], capture_output=True, text=True, env=environment, check=False
    )
