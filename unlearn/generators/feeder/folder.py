"""The folder of a run: refused if it holds anything else, filled aside and put in place at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unlearn.errors import InputError
from unlearn.generators.feeder.audit import TITLE
from unlearn.store import replace_folder

REPORT = "generation_report.txt"

#: Every file that a run may write.
FILES = frozenset(
    {
        "transformers.csv", "meter_consumption.csv", "anomaly_labels.csv", "transformers.geojson", REPORT,
        "transformers.parquet", "meter_consumption.parquet", "anomaly_labels.parquet",
        "hourly_consumption.parquet", "bus_loads.parquet", "transformer_buses.csv",
    }
)  # fmt: skip


def require_free(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier run of the generator.

    Raises:
        InputError: it is a file, or holds other data.
    """
    if not folder.exists():
        above = next(path for path in folder.absolute().parents if path.exists())
        if not above.is_dir():
            raise InputError(f"output_dir {folder}: expected a folder above it, got the file {above}. Choose another.")
        return
    if not folder.is_dir():
        raise InputError(f"output_dir {folder}: expected a folder, got a file. Choose another.")
    names = sorted(path.name for path in folder.iterdir())
    others = [name for name in names if name not in FILES]
    if others or (names and not _is_report(folder / REPORT)):
        raise InputError(
            f"output_dir {folder}: expected no folder, an empty one or an earlier run of the generator, got a folder "
            f"that holds other data ({', '.join((others or names)[:3])}). Choose another, or move these files."
        )


def put_in_place(folder: Path, fill: Callable[[Path], object]) -> Path:
    """Let `fill` fill a temporary folder beside `folder`, then let it take the place of an earlier run.

    Raises:
        InputError: `folder` holds other data.
    """
    return replace_folder(folder, fill, require_free)


def _is_report(path: Path) -> bool:
    return path.is_file() and path.read_bytes()[: len(TITLE)] == TITLE.encode()
