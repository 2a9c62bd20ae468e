"""What a file claims is checked against the file before anything is allocated, and the refusal says why."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unlearn.data.files import Archive
from unlearn.data.text_tables import open_table
from unlearn.errors import InputError
from unlearn.generators.feeder.tables import CsvTable
from unlearn.grid.case import load_case
from unlearn.records import read_json, read_safetensors, unmarked, write_csv

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)


def bomb(path: Path) -> None:
    """A small archive whose directory promises two gigabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("load.csv", bytes(2**20))
    entry = packed.infolist()[0]
    real, false = entry.file_size.to_bytes(4, "little"), (2**31).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(real, false))


CASES = {
    "names.json": (lambda p: p.write_text(json.dumps([f"n{k:05d}" for k in range(10**6)])), read_json, "bytes, got"),
    "deep.json": (lambda p: p.write_text("[" * 10**5 + "]" * 10**5), read_json, "levels inside each other"),
    "digits.json": (lambda p: p.write_text('{"a": ' + "9" * 10**6 + "}"), read_json, "at most 400 digits"),
    "header.safetensors": (
        lambda p: p.write_bytes((373 * 2**30).to_bytes(8, "little") + bytes(99)),
        read_safetensors,
        "bytes of header, got 400",
    ),
    "laughs.yaml": (lambda p: p.write_text(LAUGHS), load_case, "aliases outside"),
    "deep.yaml": (lambda p: p.write_text("[" * 10**5), load_case, "levels inside each other"),
    "digits.yaml": (lambda p: p.write_text("base_mva: " + "9" * 10**5), load_case, "at most 400 digits"),
    "comments.m": (lambda p: p.write_text("%{\n" * 20_000), load_case, "bus"),
    "bomb.zip": (bomb, Archive, "bytes once unpacked, got 2,147,483,648"),
    "wide.csv": (lambda p: p.write_text(",".join(map(str, range(10**5))) + "\n"), open_table, "columns, got 100,000"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_file_claims_is_refused_with_little_memory(name, tmp_path):
    write, read, said = CASES[name]
    path = tmp_path / name
    write(path)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=said) as refused:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
    assert str(path) in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("name", ["=cmd()", "+1+1", "-2", "@sum", "\tx", "\r=x", "'quoted", "plain", "''=x", "\uff1dx"])
def test_no_text_of_a_table_is_run_by_a_spreadsheet(name, tmp_path):
    frame = pd.DataFrame({name: [name, "b"], "value": [-1.5, np.nan]})
    read = pd.read_csv(write_csv(frame, tmp_path / "t.csv"), lineterminator="\n")
    assert not read.columns[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert not read.iloc[0, 0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert [unmarked(title) for title in read] == [name, "value"]
    assert unmarked(read.iloc[0, 0]) == name
    assert read["value"][0] == -1.5


@pytest.mark.parametrize(
    "name", ["=cmd()", "+1+1", "@sum", "'quoted", "plain", "\r=x", "\n=x", "\uff1dcmd()", "''@cmd()"]
)
def test_names_that_were_marked_are_read_as_they_were(name, tmp_path):
    table = open_table(write_csv(pd.DataFrame({name: [name, "b"]}), tmp_path / "t.csv"))
    assert table.titles == (name,)
    assert table.identifiers(name) == [name, "b"]


def test_a_feeders_tables_are_marked_too(tmp_path):
    frame = pd.DataFrame({"=id": ["=cmd()", "b"], "meters": [1, -2]})
    with CsvTable(tmp_path / "t.csv") as table:
        table.write(frame)
    assert (tmp_path / "t.csv").read_text() == "'=id,meters\n'=cmd(),1\nb,-2\n"
