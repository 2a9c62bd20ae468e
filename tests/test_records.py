"""Records on disk: all or nothing, and back again unchanged."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch

from unlearn import records, store
from unlearn.errors import InputError
from unlearn.records import COLUMNS, RecordTable


@pytest.fixture
def table() -> RecordTable:
    table = RecordTable(experiment="tradeoff", forecaster="linear", seed=0)
    table.add("cost", 1000, unit="money", l1_budget=0.1, split="test")
    table.add("mape", 10.5, unit="percent", l1_budget=0.2, note="extra")
    return table


def test_a_table_has_every_column_and_its_own_extras(table):
    frame = table.to_frame()
    assert list(frame.columns) == [*COLUMNS, "note"]
    assert len(table) == len(frame) == 2
    assert frame["forecaster"].tolist() == ["linear", "linear"]
    assert frame["value"].tolist() == [1000.0, 10.5]
    assert frame["grid"].isna().all()


def test_a_row_may_override_what_the_table_has_in_common(table):
    table.add("mse", 1.0, forecaster="cnn")
    assert table.to_frame()["forecaster"].tolist() == ["linear", "linear", "cnn"]


def test_an_empty_table_still_has_the_columns():
    assert list(RecordTable().to_frame().columns) == list(COLUMNS)


def test_parquet_round_trip(table, tmp_path):
    frame = table.to_frame()
    path = records.write_parquet(frame, tmp_path / "deep" / "records.parquet")
    # check_dtype: parquet reads a column of nothing back as objects.
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame, check_dtype=False)


def test_json_round_trip(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"x": "ü"}}
    path = records.write_json(value, tmp_path / "card.json")
    assert records.read_json(path) == value
    assert path.read_text().endswith("}\n")
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "card.json"
    path.write_text("old")

    def fail(file):
        file.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.write(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_that_create_one_folder_the_first_wins_and_no_mixture_is_seen(tmp_path):
    target, n_writers = tmp_path / "deep" / "model", 8
    ready = threading.Barrier(n_writers)

    def create(number):
        def fill(folder):
            (folder / "a").write_text(str(number))
            ready.wait()  # all are half done at the same time
            assert not target.exists() or (target / "b").exists()
            (folder / "b").write_text(str(number))

        return store.create_folder(target, fill)

    with ThreadPoolExecutor(n_writers) as pool:
        created = list(pool.map(create, range(n_writers)))
    assert sum(created) == 1
    winner = str(created.index(True))
    assert [(target / name).read_text() for name in ("a", "b")] == [winner, winner]
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_filled_is_not_created(tmp_path):
    def fail(folder):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.create_folder(tmp_path / "model", fail)
    assert list(tmp_path.iterdir()) == []


def test_nan_is_no_json_and_the_old_file_stays(tmp_path):
    path = records.write_json({"x": 1}, tmp_path / "card.json")
    with pytest.raises(ValueError, match="JSON"):
        records.write_json({"x": float("nan")}, path)
    assert records.read_json(path) == {"x": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{\n 'a': 1}", "expected JSON, got an error at line 2"),
        (b"[1, 2]", "expected a JSON object, got list"),
        (b"\xff\xfe{}", "expected JSON"),
    ],
)
def test_broken_json_names_the_file(tmp_path, content, message):
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(InputError, match=f"card.json: {message}"):
        records.read_json(tmp_path / "card.json")


def test_missing_json_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"card\.json: no such file"):
        records.read_json(tmp_path / "card.json")


def test_collect_gathers_folders_and_files_in_order(tmp_path):
    for job, value in {"b": 2.0, "a/deep": 1.0, "c": 3.0}.items():
        table = RecordTable(experiment=job)
        table.add("mse", value)
        records.write_parquet(table.to_frame(), tmp_path / job / "records.parquet")
    whole = records.collect([tmp_path])
    assert whole["value"].tolist() == [1.0, 2.0, 3.0]
    assert whole.index.tolist() == [0, 1, 2]
    some = records.collect([tmp_path / "c" / "records.parquet", tmp_path / "a"])
    assert some["experiment"].tolist() == ["c", "a/deep"]


def test_collect_says_when_there_is_nothing(tmp_path):
    with pytest.raises(InputError, match=r"no records\.parquet found: run an experiment first"):
        records.collect([tmp_path])


def test_collect_names_a_missing_or_broken_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.parquet: no such file"):
        records.collect([tmp_path / "nothing.parquet"])
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"broken\.parquet: expected a file with one checksum"):
        records.collect([tmp_path / "broken.parquet"])


def test_config_hash_depends_on_content_and_not_on_order():
    one = records.config_hash({"a": 1, "b": {"c": [1, 2]}})
    assert one == records.config_hash({"b": {"c": [1, 2]}, "a": 1}) == "d0de10d1cc7a"
    assert one != records.config_hash({"a": 1, "b": {"c": [2, 1]}})
    assert len(records.config_hash({})) == 12


def test_provenance_says_what_ran_and_is_json():
    found = records.provenance()
    assert set(found) == {"python", "platform", "cpu_count", "versions", "source", "written_utc"}
    assert found["versions"]["torch"].startswith("2.")
    assert json.loads(json.dumps(found)) == found


def test_provenance_says_when_a_package_is_absent(monkeypatch):
    monkeypatch.setattr(records, "_VERSIONED", ("no-such-package",))
    assert records.provenance()["versions"] == {"no-such-package": "not installed"}


@pytest.mark.parametrize("position", [0, 1500, 2999])
@pytest.mark.parametrize("made", [np.asarray, torch.from_numpy, pd.Series, pd.date_range])
def test_config_hash_sees_every_entry_of_an_array(position, made):
    """Text of a long array shows its first and last entries alone."""

    def of(values):
        key = pd.Index(values).astype("datetime64[ns]") if made is pd.date_range else made(values)
        return records.config_hash({"rows": key})

    before, after = np.arange(3000), np.arange(3000)
    after[position] += 1
    assert of(before) == of(before.copy())
    assert of(before) != of(after)
    assert records.config_hash({"rows": np.zeros((2, 3))}) != records.config_hash({"rows": np.zeros((3, 2))})
    texts = [np.array(["a"] * 3000, dtype=object) for _ in range(2)]
    texts[1][position] = "b"
    assert len({records.config_hash({"rows": text}) for text in texts}) == 2
