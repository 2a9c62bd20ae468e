"""The study of customers in its tiny mode: what is written, kept, reused."""

from pathlib import Path

import pandas as pd
import pytest

from tests.experiments.conftest import Runner
from tests.experiments.test_config import composed
from tests.experiments.test_entry_points import records_of
from tests.pages import assert_self_contained, read_page
from unlearn.studies.customers import CustomersOptions


@pytest.mark.slow
def test_it_says_what_it_costs_who_pays_and_what_data_is_worth(run: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["grid=ieee9", "customers.seeds=[0]", "customers.forecasters=[linear,cnn,cnn_of_others]"]
    quick += ["customers.choices=[random]", "customers.cases=[leaves,class_mean]", "customers.shares=[0.05]"]
    folder = run("customers", *quick)
    said = capsys.readouterr().out
    assert "can be forgotten wholly" in said
    assert "Does the network forget, too" in said
    records = records_of(folder)
    complete = records[records["metric"] == "complete"].groupby("forecaster")["value"].mean()
    assert complete.to_dict() == {"linear": 1, "cnn": 0, "cnn_of_others": 1}
    for name in ("customers", "customers_share", "customers_bus", "customers_worth"):
        assert (folder / f"{name}.png").stat().st_size > 20_000
    page = read_page(folder / "index.html")
    assert "For a privacy officer" in page
    assert_self_contained(page)

    before = {file: file.stat().st_mtime_ns for file in Path("store/customers").rglob("*.parquet")}
    lost = next(file for file in before if file.parent.name.startswith("audit"))
    lost.unlink()  # as if interrupted
    again = records_of(run("customers", *quick))
    timed = records["metric"] == "seconds"
    pd.testing.assert_frame_equal(again[~timed], records[~timed])
    after = {file: file.stat().st_mtime_ns for file in Path("store/customers").rglob("*.parquet")}
    assert {file: time for file, time in before.items() if file != lost}.items() <= after.items()


def test_the_configured_study_is_the_librarys_default() -> None:
    assert composed("customers").customers == CustomersOptions()
