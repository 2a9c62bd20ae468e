"""Records that are committed: what the paper's page shows of the study `tuning` beside its own run."""

from pathlib import Path

import pandas as pd
import pytest

from experiments.committed import FILE, committed_section, main, read_committed, write_committed
from experiments.jobs import CARD, RECORDS
from tests.studies.tuning.made import made_up
from unlearn.errors import DataError, InputError
from unlearn.records import write_json, write_parquet
from unlearn.studies.tuning.verdict import section

ABOUT = {"written_utc": "2026-01-02T03:04:05+00:00", "source": "def", "config_hash": "abc"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a run."""
    return run_folder(tmp_path / "run", made_up(seeds=[0, 1]))


def run_folder(folder: Path, records: pd.DataFrame, tiny: bool = False) -> Path:
    folder.mkdir()
    write_parquet(records.assign(tiny=tiny, config_hash="abc"), folder / RECORDS)
    write_json(ABOUT, folder / CARD)
    return folder


def test_what_is_committed_says_what_the_run_says(folder: Path, tmp_path: Path) -> None:
    records, about = read_committed(write_committed(folder, tmp_path / "kept.csv"))
    assert about["config_hash"] == "abc"
    kept, whole = (section(own) for own in (records, pd.read_parquet(folder / RECORDS)))
    assert kept[0].points == whole[0].points
    assert kept[0].lead == whole[0].lead
    by_method = [{row["method"]: row for row in own[2].rows} for own in (kept, whole)]
    assert by_method[0] == by_method[1]


def test_the_file_is_compact_and_the_same_for_the_same_run(folder: Path, tmp_path: Path) -> None:
    """The size of the whole study: seven years, three forecasters, two selections, three seeds."""
    first = write_committed(folder, tmp_path / "a.csv").read_bytes()
    records = pd.read_parquet(folder / RECORDS).sample(frac=1, random_state=0)
    assert write_committed(run_folder(tmp_path / "other", records), tmp_path / "b.csv").read_bytes() != b""
    (tmp_path / "a.csv").unlink()
    assert write_committed(folder, tmp_path / "a.csv").read_bytes() == first
    assert (tmp_path / "b.csv").read_text().splitlines()[1:] == first.decode().splitlines()[1:]
    sources = {f"made-{year}": "ieee14" for year in range(7)}
    whole = run_folder(tmp_path / "whole", made_up(sources=sources, seeds=[0, 1, 2]))
    assert write_committed(whole, tmp_path / "whole.csv").stat().st_size < 300_000


def test_the_section_says_where_its_records_come_from(folder: Path, tmp_path: Path) -> None:
    first, figure, table = committed_section(write_committed(folder, tmp_path / "kept.csv"))
    assert first.lead.startswith(
        "Committed records of a run of 2026-01-02 (source def, configuration abc), not of this page's own run."
    )
    assert first.points[0].startswith("Yes: forget completely, then")
    assert len(figure.figures) == 1
    assert len(table.rows) == 12


def test_without_committed_records_the_section_says_how_to_make_them(tmp_path: Path) -> None:
    (block,) = committed_section(tmp_path / "none.csv")
    assert "left out. Run python -m experiments.tuning, then python -m experiments.committed FOLDER" in block.lead
    assert not block.points


@pytest.mark.skipif(not FILE.is_file(), reason="no records are committed")
def test_the_committed_records_are_whole() -> None:
    records, about = read_committed()
    assert set(records["part"]) == {"main", "prices", "audit"}
    assert len(about["config_hash"]) == 12
    assert FILE.stat().st_size < 300_000


@pytest.mark.parametrize("edit", ["value", "first line", "cut"])
def test_edited_records_are_refused(folder: Path, tmp_path: Path, edit: str) -> None:
    path = write_committed(folder, tmp_path / "kept.csv")
    text = path.read_text()
    edited = {"value": text.replace(",0.25,", ",0.35,", 1), "first line": text.partition("\n")[2], "cut": text[:-20]}
    path.write_text(edited[edit])
    with pytest.raises(DataError, match="was edited or is damaged"):
        read_committed(path)


def test_runs_that_are_none_are_refused(tmp_path: Path) -> None:
    tiny = run_folder(tmp_path / "tiny", made_up(sources={"a": "ieee9"}), tiny=True)
    with pytest.raises(InputError, match="expected the folder of a whole run of tuning, got a tiny run"):
        write_committed(tiny, tmp_path / "kept.csv")
    other = run_folder(tmp_path / "other", made_up(sources={"a": "ieee9"}).assign(experiment="deletion"))
    with pytest.raises(InputError, match="got one of deletion"):
        write_committed(other, tmp_path / "kept.csv")
    with pytest.raises(SystemExit, match="got one of deletion"):
        main([str(other)])
    assert not (tmp_path / "kept.csv").exists()
