"""The figure, the sentences and the page of a generated feeder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.pages import assert_self_contained, read_page
from tests.studies.feeders import made_feeder
from unlearn.errors import InputError
from unlearn.records import RecordTable
from unlearn.studies.release.feeder_measure import describe_feeder
from unlearn.studies.release.feeder_report import figure, save, write_page
from unlearn.studies.release.feeder_verdict import anomaly_table, class_table, month_table, summarise


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return describe_feeder(made_feeder()).to_frame()


def test_sentences_follow_the_numbers(records: pd.DataFrame) -> None:
    about, uses, anomalies = summarise(records)
    assert about == (
        "60 meters at 5 transformers of 500 kVA in all, on 2 feeders in 2 barangays; 4 months, 2022-11 to 2023-02."
    )
    meters = made_feeder()["meters_df"]
    mean = meters.filter(like="monthly").mean(axis=1).groupby(meters["customer_class"]).mean()
    assert f"residential {mean['residential']:,.0f} kWh a month (66.7 % of meters)" in uses
    assert f"commercial {mean['commercial']:,.0f} kWh a month (33.3 % of meters)" in uses
    assert "10 anomalous meters (16.67 % of all)" in anomalies
    assert "0.50 times as much as in the first, normal meters 1.00 times" in anomalies
    few = summarise(describe_feeder(made_feeder(12, 1)).to_frame())
    assert "1 month, 2022-11 to 2022-11" in few[0]
    none = summarise(describe_feeder(made_feeder(anomalous=False)).to_frame())
    assert none[-1] == "No meter is anomalous."


def test_the_figure_draws_the_records(records: pd.DataFrame) -> None:
    axes = {axis.get_label(): axis for axis in figure(records).axes}
    points = axes["map"].collections[0]
    meters = records[records["metric"] == "transformer_meters"]
    np.testing.assert_allclose(points.get_offsets(), meters[["lon", "lat"]])
    np.testing.assert_allclose(points.get_sizes() / points.get_sizes()[0], meters["value"] / 15)
    share = records[records["metric"] == "transformer_anomalous"]["value"]
    np.testing.assert_allclose(points.get_array(), [*share, 0])  # a transformer without meters has no anomalous ones
    lines = {line.get_label(): line for line in axes["relative"].get_lines()}
    np.testing.assert_allclose(lines["anomalous"].get_ydata(), [1, 0.5, 0.5, 0.5])
    assert {"normal", "spike", "low consumption"} <= set(lines)
    widths = [bar.get_width() for bar in axes["classes"].patches]
    assert widths == [30, 20, 10, 0]  # normal, then anomalous; residential first
    assert sum(bar.get_width() for bar in axes["types"].patches) == 10
    residential = axes["months"].get_lines()[0].get_ydata()
    own = records[(records["metric"] == "monthly_mean") & (records["customer_class"] == "residential")]
    np.testing.assert_allclose(residential, own["value"])


def test_tables_hold_the_records(records: pd.DataFrame) -> None:
    residential, commercial = class_table(records)
    assert (residential["class"], residential["meters"], residential["anomalous"]) == ("residential", "40", "10")
    assert commercial["share of meters"] == "33.3 %"
    rows = anomaly_table(records)
    assert [row["type"] for row in rows] == ["low consumption", "spike"]
    assert list(rows[0]) == ["type", "Low risk", "High risk", "all"]
    assert sum(int(row["all"]) for row in rows) == 10
    months = month_table(records)
    assert [row["month"] for row in months] == ["2022-11", "2022-12", "2023-01", "2023-02"]
    assert months[1]["anomalous, relative"] == "0.500"


@pytest.mark.parametrize(("anomalous", "n_months"), [(True, 12), (False, 4), (True, 1)])
def test_the_page_holds_everything(anomalous: bool, n_months: int, tmp_path: Path) -> None:
    records = describe_feeder(made_feeder(60, n_months, anomalous)).to_frame()
    png = save(records, tmp_path / "feeder")
    assert png.with_suffix(".pdf").exists()
    page = read_page(write_page(records, png, tmp_path / "f.html", {"num_meters": 60} if anomalous else None))
    assert_self_contained(page)
    for sentence in summarise(records):
        assert sentence in page
    assert ("Anomalous meters" in page) == anomalous
    assert ("num_meters" in page) == anomalous


def test_bad_records_are_refused(records: pd.DataFrame) -> None:
    other = RecordTable()
    other.add("mse", 1.0)
    with pytest.raises(InputError, match="run describe_feeder first"):
        figure(other.to_frame())
    with pytest.raises(InputError, match="described once"):
        summarise(pd.concat([records, records]))
