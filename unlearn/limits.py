"""What a file may claim: sizes checked against the file itself before anything is allocated or parsed."""

from __future__ import annotations

import bz2
import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from unlearn.errors import DataError, InputError

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from torch import Tensor, nn

#: Bytes of a text that is parsed as a whole: a card; and of settings in YAML, whose parser takes a second a megabyte.
TEXT_BYTES, SETTINGS_BYTES = 2**23, 2**19

#: Bytes of a grid in MATPOWER's format; the largest public one has some 80,000 buses.
GRID_BYTES = 2**26

#: Brackets, mappings and lists inside each other.
DEPTH = 64

#: Digits of one number; a double has no more than 309 before the point.
DIGITS = 400

#: Signs of one number or other word in settings and grids.
SIGNS = 4_300

#: Columns of a table, far above one for each of some thousand meters; and bytes that describe them in parquet.
COLUMNS, FOOTER_BYTES = 20_000, 2**23

_NARROWER = "Write a row for each value, or several tables."

#: Bytes that an archive may unpack to: so many times its own, or `UNPACKED_BYTES` if that is more.
UNPACKED_TIMES, UNPACKED_BYTES = 100, 2**28

# From the start of a run of digits or of a word only, so that the search takes one pass.
_DIGITS = re.compile(rf"(?<!\d)\d{{{DIGITS + 1}}}")
_WORD = re.compile(rf"(?<![\w.+:\-])[\w.+:\-]{{{SIGNS + 1}}}")
_OPENED = re.compile(rf"(?:[\[{{]\s*+){{{DEPTH + 1}}}")
_OPENED_OR_CLOSED = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def require_at_most(
    where: str | Path, what: str, came: int, most: int, mend: str, error: type[InputError] = DataError
) -> None:
    """Refuse a size above what is expected: says where, what, how much came, and how to mend it."""
    if came > most:
        raise error(f"{where}: expected at most {most:,} {what}, got {came:,}. {mend}")


def require_text(where: str | Path, n_bytes: int) -> None:
    """Refuse a text too long to be parsed as a whole."""
    require_at_most(where, "bytes", n_bytes, TEXT_BYTES, "This is no card or settings; name the right file.")


def require_json(where: str | Path, text: str) -> None:
    """Refuse JSON that is too long, too deep, or has a number of too many digits, before it is parsed."""
    require_text(where, len(text))
    require_digits(where, text)
    depth = 0
    for found in _OPENED_OR_CLOSED.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        require_at_most(where, "levels inside each other", depth, DEPTH, "Write the file again.")


def require_digits(where: str | Path, text: str) -> None:
    """Refuse a number of more digits than any double has."""
    if found := _DIGITS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise DataError(f"{where}: expected numbers of at most {DIGITS} digits, got more in line {line}. Correct it.")


def require_words(where: str | Path, text: str) -> None:
    """Refuse a number, or another word, of thousands of signs."""
    if found := _WORD.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise DataError(f"{where}: expected words of at most {SIGNS:,} signs, got more in line {line}. Correct it.")


def require_yaml(where: str | Path, text: str) -> None:
    """Refuse YAML that is too long, too deep, or whose aliases stand for each other, before it is built."""
    import yaml

    require_at_most(where, "bytes", len(text), SETTINGS_BYTES, "These are no settings; name the right file.")
    require_digits(where, text)
    require_words(where, text)
    if _OPENED.search(text):  # the scanner takes more than a second for them
        raise DataError(
            f"{where}: expected at most {DEPTH} levels inside each other, got more. Write settings flatter."
        )
    opened: list[bool] = []
    for event in yaml.parse(text):
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(event.anchor is not None)
            require_at_most(where, "levels inside each other", len(opened), DEPTH, "Write settings flatter.")
        elif isinstance(event, yaml.CollectionEndEvent):
            opened.pop()
        elif isinstance(event, yaml.AliasEvent) and any(opened):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise DataError(
                f"{where}: expected aliases outside what an anchor names, got *{event.anchor} inside one in line "
                f"{line}. Write its value out."
            )


def require_unpacked(
    where: str | Path, unpacked: int, n_bytes: int, mend: str, error: type[InputError] = DataError
) -> None:
    """Refuse content that claims, or turns out, to be out of proportion to the `n_bytes` that it is packed in."""
    most = max(UNPACKED_BYTES, UNPACKED_TIMES * n_bytes)
    require_at_most(where, "bytes once unpacked", unpacked, most, mend, error)


def require_unpackable(
    where: str | Path, members: Iterable[zipfile.ZipInfo], n_bytes: int, error: type[InputError] = DataError
) -> None:
    """Refuse an archive of `n_bytes` whose directory promises far more; no member unpacks to more than it promises."""
    promised = sum(member.file_size for member in members)
    require_unpacked(where, promised, n_bytes, "Fetch it again, or extract it to a folder.", error)


def require_safetensors(path: str | Path) -> None:
    """Refuse a safetensors file whose header is longer than the file, or than a header can be."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    most = min(TEXT_BYTES, max(0, size - 8))
    require_at_most(path, "bytes of header", header, most, "Delete it and make it anew.")


def require_npz(path: str | Path, archive: np.lib.npyio.NpzFile) -> None:
    """Refuse a NumPy archive whose directory promises far more than the file, or an array more than its member.

    Args:
        path: the file.
        archive: opened; nothing of it has been read.
    """
    assert archive.zip is not None
    require_unpackable(path, archive.zip.infolist(), Path(path).stat().st_size)
    for member in archive.zip.infolist():
        with archive.zip.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = read(stream)
            claimed, most = math.prod(shape) * kind.itemsize, member.file_size - stream.tell()
        require_at_most(f"{path}/{member.filename}", "bytes", claimed, most, "Write it again with numpy.savez.")


def require_mat(path: str | Path) -> None:
    """Refuse a MATLAB file of version 5 to 7 whose compressed parts unpack to far more than the file."""
    content = Path(path).read_bytes()
    order: Literal["little", "big"] = "little" if content[126:128] == b"IM" else "big"
    place, size = 128, 0
    while place + 8 <= len(content):
        kind, length = (int.from_bytes(content[at : at + 4], order) for at in (place, place + 4))
        place += 8
        if kind == _MAT_COMPRESSED:
            unpacker, data = zlib.decompressobj(), content[place : place + length]
            while data and not unpacker.eof:
                size += len(unpacker.decompress(data, 2**20))
                data = unpacker.unconsumed_tail
                require_unpacked(path, size, len(content), "Write it again with save -v7.", InputError)
        place += length


def require_footer(where: str | Path, end: bytes) -> None:
    """Refuse a parquet file, of which these are the last 8 bytes, that describes its columns at too great a length."""
    if len(end) == 8 and end.endswith(b"PAR1"):
        length = int.from_bytes(end[:4], "little")
        require_at_most(where, "bytes that describe columns", length, FOOTER_BYTES, _NARROWER)


def require_parquet(where: str | Path, metadata: pq.FileMetaData, n_bytes: int) -> None:
    """Refuse a parquet file that claims columns, rows or bytes out of proportion to its `n_bytes`."""
    require_at_most(where, "columns", metadata.num_columns, COLUMNS, _NARROWER)
    claimed = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    require_unpacked(where, max(claimed, 8 * metadata.num_rows * metadata.num_columns), n_bytes, "Write it again.")


_MAT_COMPRESSED = 15
_UNPACKERS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=UNPACKED_BYTES)),
)


def unpacked(where: str | Path, content: bytes) -> bytes:
    """Return content, unpacked if gzip, bzip2 or xz have packed it; counted while it comes out.

    Raises:
        DataError: it unpacks to more than it may.
        Exception: of the decoder, where it is damaged or cut.
    """
    make = next((make for magic, make in _UNPACKERS if content.startswith(magic)), None)
    if make is None:
        return content
    parts: list[bytes] = []
    size, rest = 0, content
    while rest.strip(b"\0"):  # packed files may follow each other, and zeros the last
        unpacker, data = make(), rest
        while not unpacker.eof:
            part = unpacker.decompress(data, 2**20)
            data = getattr(unpacker, "unconsumed_tail", b"")
            if not part and not data and not unpacker.eof:
                raise EOFError("it ends before its end was marked")
            size += len(part)
            require_unpacked(where, size, len(content), "Fetch it again, or unpack it.")
            parts.append(part)
        rest = unpacker.unused_data
    return b"".join(parts)


Network = TypeVar("Network", bound="nn.Module")


def build_to_fit(
    where: str | Path, build: Callable[[], Network], weights: Mapping[str, Tensor], free: Collection[str] = ()
) -> Network:
    """Build the network that a card describes once it is known that the weights of its file have its shapes.

    Args:
        where: the file of weights.
        build: makes the network, in whatever size the card says.
        weights: of the file, by name.
        free: names of tensors that have whatever shape the file gives them.

    Raises:
        InputError: a tensor that is missing or has another shape.
    """
    import torch

    with torch.device("meta"):  # shapes alone
        planned = build()
    for name, tensor in planned.state_dict().items():
        if name not in free:
            found = weights.get(name)
            if found is None or found.shape != tensor.shape:
                got = "none" if found is None else tuple(found.shape)
                raise InputError(
                    f"{where}: does not fit its card: expected {name} of shape {tuple(tensor.shape)}, got {got}. Save "
                    "the model again."
                )
    return build()
