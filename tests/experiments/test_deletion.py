"""The audit of a deletion in its tiny mode: what is written, kept, reused, refused."""

from pathlib import Path

import pandas as pd
import pytest

from experiments.deletion import audited
from experiments.groups import identity
from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import assert_self_contained, read_page
from unlearn.studies.deletion.measure import PARTS, Audit
from unlearn.studies.deletion.options import AuditOptions

QUICK = ["deletion.l1_budgets=[0,0.2]", "evaluation.hours=12"]


def test_an_audit_writes_its_evidence_and_goes_on_where_it_stopped(
    run: Runner, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn.attacks.outcome.N_BOOTSTRAP", 40)  # seconds, and intervals are not asked
    folder = run("deletion", *QUICK)
    said = capsys.readouterr().out
    assert "105 of 420 training rows removed (25 %, helpful/mse; protocol fair)" in said
    assert "TAMU: " in said
    records = pd.read_parquet(folder / "records.parquet")
    assert {"original", "unlearnt", "retrained", "first_order", "reweighted"} <= set(records["method"].dropna())
    assert records["value"].notna().all()
    assert (folder / "deletion.png").stat().st_size > 20_000
    page = read_page(folder / "index.html")
    assert "Did the deletion happen?" in page
    assert_self_contained(page)

    before = {file: file.stat().st_mtime_ns for file in Path("store/deletion").rglob("*.parquet")}
    assert sorted(file.parent.name.split("-")[0] for file in before) == sorted(PARTS)
    lost = next(file for file in before if file.parent.name.startswith("released"))
    lost.unlink()  # as if interrupted
    again = records_of(run("deletion", *QUICK))
    pd.testing.assert_frame_equal(again, records)
    after = {file: file.stat().st_mtime_ns for file in Path("store/deletion").rglob("*.parquet")}
    assert {file: time for file, time in before.items() if file != lost}.items() <= after.items()


def test_parts_of_other_prices_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def records(_: Audit, part: str) -> pd.DataFrame:
        asked.append(part)
        return pd.DataFrame({"metric": [part], "value": [0.0]})

    monkeypatch.setattr(Audit, "records", records)
    settings = ["variant=tiny", "data.n_hours=600", *QUICK, f"store={tmp_path}"]
    for bounds in ("published", "published", "shed_at_most_load"):
        audited(composed("deletion", *settings, f"grid.bounds={bounds}"))
    assert asked == [*PARTS, *PARTS]


def test_the_configured_audit_is_the_librarys_default() -> None:
    assert composed("deletion").deletion == AuditOptions()


def test_where_parts_are_kept_changes_no_result() -> None:
    assert identity(composed("deletion")) == identity(composed("deletion", "store=elsewhere"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("deletion.pairs=8", "pairs: expected at least 16"),
        ("deletion.fprs=[0.001]", "at least 1000 records that are no members"),
        ("unlearning.share=0.95", "Remove fewer rows"),
    ],
)
def test_what_cannot_be_audited_is_refused(
    run: Runner, capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        run("deletion", *QUICK, override)
    assert message in capsys.readouterr().out
    assert not Path("store/deletion").exists()
