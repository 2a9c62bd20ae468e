"""Attacks by input: files that claim more than they hold, and names that a spreadsheet would run."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import unlearn
from tests.security.conftest import Attacked
from unlearn.data.files import Archive
from unlearn.data.text_tables import open_table
from unlearn.data.tx123bt import parse_climate
from unlearn.detectors.storage import load_checkpoint
from unlearn.errors import InputError
from unlearn.forecasters.checkpoint import load_forecaster
from unlearn.households.io.wide import read_npz
from unlearn.records import read_card, read_json, read_parquet, read_safetensors, write_card, write_csv, write_parquet
from unlearn.store import BLANK_SEAL, write
from unlearn.studies.detection.archive import load_archive

#: Of what is unpacked before it is refused, with what reading takes beside it.
MOST_BYTES = 400 << 20
ZEROS = 1 << 20


_MADE = [0.0]


def made(path: Path) -> Path:
    """From here on time and memory count: the file is there."""
    tracemalloc.reset_peak()
    _MADE[0] = time.perf_counter()
    return path


def zeros_in_zip(path: Path, member: str, head: bytes = b"", size: int = 2_000_000_000) -> Path:
    packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with packed as archive, archive.open(member, "w", force_zip64=True) as stream:
        stream.write(head)
        for _ in range(size // ZEROS):
            stream.write(bytes(ZEROS))
    return made(path)


def npy(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def claimed_npz(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        for key in ("kwh_x1000", "ids", "start", "tariff", "acorn_grouped", "detector", "validation_window_score"):
            archive.writestr(f"{key}.npy", npy((10**11,)))
        archive.comment = BLANK_SEAL
    write(folder / "a.npz", (folder / "a.npz").read_bytes(), sealed=True)
    return made(folder / "a.npz")


def text(folder: Path, name: str, content: str | bytes) -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return made(folder / name)


def card_of_many(folder: Path, names: int) -> Path:
    dataset = unlearn.load_dataset("synthetic", n_loads=14, n_hours=600)
    model = unlearn.fit_linear(dataset)
    unlearn.save_forecaster(model, folder)
    card = read_card(folder)
    write_card(card | {"load_names": [f"b{i}" for i in range(names)]}, folder, ["model.safetensors"])
    return made(folder)


def safetensors(folder: Path, header: bytes, length: int | None = None) -> Path:
    path = folder / "checkpoint.safetensors"
    write(path, struct.pack("<Q", length or len(header)) + header, sealed=BLANK_SEAL in header)
    return made(path)


def rows_of_one_value(folder: Path) -> Path:
    column = pa.array(np.zeros(1 << 24, dtype=np.float64))
    with pq.ParquetWriter(folder / "t.parquet", pa.schema([("a", pa.float64())])) as writer:
        for _ in range(16):
            writer.write_table(pa.table({"a": column}))
    return made(folder / "t.parquet")


def laughs() -> str:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    return "\n".join([*lines, "base_case: *a9"])


WIDE = ",".join(f"m{i}" for i in range(100_000))
HEADER = json.dumps(
    {
        "__metadata__": {"seal": BLANK_SEAL.decode()},
        "w": {"dtype": "F32", "shape": [10**11], "data_offsets": [0, 4 * 10**11]},
    }
).encode()
CASE = "function mpc = g\n{}\nmpc.baseMVA = {};\n"

FORMULAS = tuple("=+-@\t\r\n\uff1d")

ATTACKS: dict[str, Callable[[Path], object]] = {
    "card of 20,000 loads": lambda f: load_forecaster(card_of_many(f, 20_000)),
    "card of 2,000,000 loads": lambda f: load_forecaster(card_of_many(f, 2_000_000)),
    "card nested 100,000 deep": lambda f: read_json(text(f, "c.json", '{"a":' * 100_000)),
    "card with a million digits": lambda f: read_json(text(f, "c.json", '{"a": ' + "1" * 10**6 + "}")),
    "safetensors header of 373 GiB": lambda f: read_safetensors(safetensors(f, b"{}", 373 << 30)),
    "safetensors tensor of 373 GiB": lambda f: read_safetensors(safetensors(f, HEADER)),
    "checkpoint tensor of 373 GiB": lambda f: load_checkpoint(safetensors(f, HEADER).parent, {}, {}, {}),
    "npz header of 373 GiB": lambda f: read_npz(claimed_npz(f)),
    "scores with a header of 373 GiB": lambda f: load_archive(claimed_npz(f)),
    "npy of 373 GiB": lambda f: read_npz(text(f, "a.npz", npy((10**11,)))),
    "npz bomb of 2 GB": lambda f: read_npz(zeros_in_zip(f / "a.npz", "ids.npy", npy((1 << 29,)))),
    "zip bomb of 2 GB": lambda f: Archive(zeros_in_zip(f / "a.zip", "x.csv")).read("x.csv"),
    "csv.zip bomb of 2 GB": lambda f: unlearn.load_households("lcl", path=zeros_in_zip(f / "a.zip", "x.csv")),
    "xlsx bomb of 1 GB": lambda f: xlsx(f),
    "csv.gz bomb of 1 GB": lambda f: open_table(text(f, "t.csv.gz", gzip.compress(bytes(ZEROS), 9) * 1024)),
    "csv.bz2 bomb of 512 MB": lambda f: open_table(text(f, "t.csv", bz2.compress(bytes(ZEROS * 8), 1) * 64)),
    "csv.xz bomb of 512 MB": lambda f: open_table(text(f, "t.csv", lzma.compress(bytes(ZEROS * 8), preset=0) * 64)),
    "CSV of 100,000 columns": lambda f: open_table(text(f, "t.csv", WIDE + "\n" + "1," * 99_999 + "1\n")),
    "parquet of 100,000 columns": lambda f: wide_parquet(f, open_table),
    "records of 100,000 columns": lambda f: read_parquet(made(write_parquet(pd.DataFrame([WIDE.split(",")]), f / "t"))),
    "parquet of 2 GB of zeros": lambda f: open_table(rows_of_one_value(f)),
    "CSV with a million digits": lambda f: open_table(text(f, "t.csv", "a\n" + "1" * 10**6 + "x\n")).numbers(["a"]),
    "YAML nested 100,000 deep": lambda f: unlearn.load_case(text(f, "g.yaml", "[" * 100_000)),
    "YAML of aliases": lambda f: unlearn.load_case(text(f, "g.yaml", laughs())),
    "YAML of 1,900 long words": lambda f: unlearn.load_case(text(f, "g.yaml", "a: " + ("w" * 4300 + " ") * 1900)),
    "YAML with a million digits": lambda f: unlearn.load_case(text(f, "g.yaml", "base_mva: 0x" + "f" * 10**6)),
    "%{ 20,000 times": lambda f: unlearn.load_case(text(f, "g.m", CASE.format("%{\n" * 20_000, 100))),
    "... 20,000 times": lambda f: unlearn.load_case(text(f, "g.m", CASE.format("", "1") + "..." * 20_000)),
    ".mat bomb of 1 GB": lambda f: unlearn.load_case(mat(f)),
    "MATPOWER with a million digits": lambda f: unlearn.load_case(text(f, "g.m", CASE.format("", "1" * 10**6))),
}


def xlsx(folder: Path) -> object:
    cache = zeros_in_zip(folder / "d.xlsx", "xl/workbook.xml", size=1 << 30)
    with Archive(folder) as archive:
        return parse_climate(archive, cache.name, 3)


def mat(folder: Path) -> Path:
    """A case whose matrix of buses is 1 GB of zeros."""
    n = 1 << 27
    array = (
        struct.pack("<IIIIIIiiII", 6, 8, 6, 0, 5, 8, 1, n, 1, 3) + b"bus".ljust(8, b"\0") + struct.pack("<II", 9, 8 * n)
    )
    packer = zlib.compressobj(1)
    packed = packer.compress(struct.pack("<II", 14, len(array) + 8 * n) + array)
    packed += b"".join(packer.compress(bytes(ZEROS)) for _ in range(8 * n // ZEROS)) + packer.flush()
    head = b"MATLAB 5.0 MAT-file".ljust(124, b"\0") + b"\0\1IM"
    return text(folder, "g.mat", head + struct.pack("<II", 15, len(packed)) + packed)


def wide_parquet(folder: Path, read: Callable[[Path], object]) -> object:
    pq.write_table(pa.table({f"m{i}": pa.array([1.0]) for i in range(100_000)}), folder / "t.parquet")
    return read(made(folder / "t.parquet"))


#: What happened before there were limits, by the same attack.
BEFORE: dict[str, str] = {
    ".mat bomb of 1 GB": "unpacked: 2.4 GiB and 7.5 s",
    "%{ 20,000 times": "not refused in 25 s",
    "... 20,000 times": "refused in 3.0 s",
    "card of 20,000 loads": "323 MiB, then refused",
    "card of 2,000,000 loads": "1.8 GiB and 3.1 s, then refused",
    "card with a million digits": "ValueError of Python's",
    "card nested 100,000 deep": "refused",
    "safetensors header of 373 GiB": "refused",
    "safetensors tensor of 373 GiB": "refused",
    "checkpoint tensor of 373 GiB": "refused",
    "npz header of 373 GiB": "373 GiB asked for",
    "scores with a header of 373 GiB": "373 GiB asked for",
    "npy of 373 GiB": "373 GiB asked for",
    "npz bomb of 2 GB": "refused for missing arrays",
    "zip bomb of 2 GB": "unpacked: 4.0 GiB and 16 s",
    "csv.zip bomb of 2 GB": "refused as binary",
    "xlsx bomb of 1 GB": "refused as no workbook",
    "csv.gz bomb of 1 GB": "unpacked: 2.2 GiB and 9 s",
    "csv.bz2 bomb of 512 MB": "unpacked: 1.6 GiB and 4 s",
    "csv.xz bomb of 512 MB": "unpacked: 1.3 GiB and 5 s",
    "CSV of 100,000 columns": "read: 1.2 GiB and 14 s",
    "parquet of 100,000 columns": "read: 1.0 GiB and 13 s",
    "records of 100,000 columns": "read, or killed at 4 GiB",
    "CSV with a million digits": "not refused in 25 s",
    "YAML nested 100,000 deep": "refused in 1.3 s",
    "YAML of 1,900 long words": "not refused in 100 s, in the first version of this check",
    "YAML of aliases": "refused for its keys",
    "YAML with a million digits": "read; refused for its keys",
    "parquet of 2 GB of zeros": "2.7 GiB and 8 s, then out of memory",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_that_claims_too_much_is_refused(attack: str, tmp_path: Path, attacked: Attacked) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as refused:
            ATTACKS[attack](tmp_path)
        seconds = time.perf_counter() - _MADE[0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(str(refused.value)) < 5000
    assert peak < MOST_BYTES
    attacked(attack, 1, BEFORE.get(attack, ""), f"refused in {seconds:.1f} s, {peak >> 20} MiB")


def test_files_of_honest_sizes_are_read(tmp_path: Path) -> None:
    """The control: tables that pack well are none of these."""
    table = "t,a\n" + "2019-01-01,0.0\n" * 100_000
    for name, pack in (("a.gz", gzip.compress), ("a.bz2", bz2.compress), ("a.xz", lzma.compress)):
        assert len(open_table(text(tmp_path, name, pack(table.encode()) * 2)).data) >= 200_000
    anchored = "base_case: case9\nshedding_cost: &a {quadratic: 1.0e+5, linear: 1.0e+5}\nstorage_cost: *a\n"
    assert unlearn.load_case(text(tmp_path, "g.yaml", anchored)).storage_cost == (1e5, 1e5)


def test_formulas_in_tables(attacked: Attacked, tmp_path: Path) -> None:
    names = ["=cmd()", "+1", "-1", "@sum", "\uff1dcmd()", "\tx", "\rx", "\nx"]
    plain = sum(name.startswith(FORMULAS) for name in names)
    written = pd.read_csv(write_csv(pd.DataFrame({"load": names}), tmp_path / "t.csv"))["load"]
    run = int(written.str.startswith(FORMULAS).sum())
    attacked("loads whose names are formulas", len(names), f"{plain} run", f"{run} run")
    assert run == 0
