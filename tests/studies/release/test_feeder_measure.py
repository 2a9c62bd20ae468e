"""Descriptions of feeders against plain pandas."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.studies.feeders import made_feeder
from unlearn.errors import DataError, InputError, MismatchError
from unlearn.studies.release.feeder_measure import describe_feeder

Outputs = dict[str, pd.DataFrame]


def test_counts_are_those_of_the_tables() -> None:
    outputs = made_feeder()
    records = describe_feeder(outputs, {"seed": 2}).to_frame()
    value = records[records["transformer_id"].isna()].groupby("metric")["value"].first()
    assert value[["transformers", "feeders", "barangays", "meters", "anomalous", "capacity_kva"]].tolist() == [
        *(5, 2, 2, 60, 10, 500)
    ]
    points = records[records["metric"] == "transformer_meters"].set_index("transformer_id")
    assert points["value"].to_dict() == {"TX_0": 15, "TX_1": 15, "TX_2": 15, "TX_3": 15, "TX_4": 0}
    assert (points.loc["TX_3", "lat"], points.loc["TX_3", "lon"]) == (14.53, 120.97)
    share = records[records["metric"] == "transformer_anomalous"].set_index("transformer_id")["value"]
    labels = outputs["anomaly_labels_df"]
    meters = outputs["meters_df"].assign(bad=lambda frame: frame["meter_id"].isin(labels["meter_id"]))
    pd.testing.assert_series_equal(share, meters.groupby("transformer_id")["bad"].mean(), check_names=False)
    by_class = records[records["metric"] == "class_meters"].set_index(["customer_class", "group"])["value"]
    assert by_class.to_dict() == {
        ("residential", "normal"): 30,
        ("residential", "anomalous"): 10,
        ("commercial", "normal"): 20,
        ("commercial", "anomalous"): 0,
    }
    found = records[records["metric"] == "anomalies"].set_index(["anomaly_type", "risk_band"])["value"]
    assert found.to_dict() == labels.groupby(["anomaly_type", "risk_band"]).size().to_dict()
    assert set(records["seed"]) == {2}


def test_consumption_is_that_of_the_table() -> None:
    outputs = made_feeder()
    records = describe_feeder(outputs).to_frame()
    meters = outputs["meters_df"]
    months = [column for column in meters if column.startswith("monthly")]
    for name, members in meters.groupby("customer_class"):
        own = records[records["customer_class"] == name]
        mean = own[own["metric"] == "monthly_mean"]
        assert mean["month"].tolist() == ["2022-11", "2022-12", "2023-01", "2023-02"]
        np.testing.assert_allclose(mean["value"], members[months].mean())
        quantile = own[own["metric"] == "meter_quantile"]
        expected = members[months].mean(axis=1).quantile(quantile["probability"].to_numpy())
        np.testing.assert_allclose(quantile["value"], expected)


def test_months_are_relative_to_the_first_and_large_meters_count_no_more() -> None:
    records = describe_feeder(made_feeder()).to_frame().query("metric == 'relative'")
    series = {group: rows["value"].tolist() for group, rows in records.groupby("group")}
    assert set(series) == {"normal", "anomalous", "low_consumption", "spike"}
    np.testing.assert_allclose(series["normal"], 1)
    for group in ("anomalous", "low_consumption", "spike"):
        np.testing.assert_allclose(series[group], [1, 0.5, 0.5, 0.5])
    # One meter that uses a million times as much and doubles moves the mean as any other meter would.
    outputs = made_feeder()
    outputs["meters_df"].loc[0, "monthly_consumption_202211"] = 1e8
    outputs["meters_df"].loc[0, ["monthly_consumption_202212"]] = 2e8
    normal = describe_feeder(outputs).to_frame().query("metric == 'relative' and group == 'normal'")["value"]
    assert normal.iloc[1] < 1.1


def test_order_of_rows_and_of_months_does_not_matter() -> None:
    outputs = made_feeder()
    expected = describe_feeder(outputs).to_frame()

    @given(st.randoms(use_true_random=False))
    def check(random) -> None:  # type: ignore[no-untyped-def]
        meters = outputs["meters_df"].sample(frac=1, random_state=random.randrange(2**31))
        columns = list(meters.columns)
        random.shuffle(columns)
        shuffled = outputs | {"meters_df": meters[columns]}
        found = describe_feeder(shuffled).to_frame()
        assert found.drop(columns="value").equals(expected.drop(columns="value"))
        np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-9)

    check()


def test_meters_without_use_and_feeders_without_anomalies_are_described() -> None:
    outputs = made_feeder(anomalous=False)
    months = [column for column in outputs["meters_df"] if column.startswith("monthly")]
    outputs["meters_df"].loc[5, months] = 0.0
    records = describe_feeder(outputs).to_frame()
    relative = records[records["metric"] == "relative"]
    assert relative.loc[relative["group"] == "anomalous", "value"].isna().all()
    np.testing.assert_allclose(relative.loc[relative["group"] == "normal", "value"], 1)
    assert "anomalies" not in set(records["metric"])
    # A label whose flag is 0 says that a meter is normal.
    labels = made_feeder()["anomaly_labels_df"].assign(anomaly_flag=0)
    again = describe_feeder(outputs | {"anomaly_labels_df": labels}).to_frame()
    pd.testing.assert_frame_equal(again, records)


def drop(name: str, column: str) -> Callable[[Outputs], Outputs]:
    return lambda outputs: outputs | {name: outputs[name].drop(columns=column)}


def put(name: str, column: str, value: object) -> Callable[[Outputs], Outputs]:
    def change(outputs: Outputs) -> Outputs:
        table = outputs[name].copy()
        table.loc[1, column] = value
        return outputs | {name: table}

    return change


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda o: {"meters_df": o["meters_df"]}, InputError, "missing transformers_df"),
        (lambda o: o | {"meters_df": o["meters_df"].iloc[:0]}, InputError, "at least one meter"),
        (drop("meters_df", "customer_class"), DataError, r"meters_df: .* missing \['customer_class'\]"),
        (
            lambda o: o | {"meters_df": o["meters_df"].filter(regex="^(?!monthly)")},
            DataError,
            "expected columns monthly_consumption_YYYYMM, got none",
        ),
        (put("meters_df", "meter_id", "MTR_000000"), DataError, "expected each meter_id once, got MTR_000000 again"),
        (put("meters_df", "transformer_id", "TX_9"), MismatchError, "unknown transformer_id, first TX_9"),
        (put("anomaly_labels_df", "meter_id", "M"), MismatchError, "unknown meter_id, first M"),
        (put("meters_df", "monthly_consumption_202301", -1.0), DataError, "got -1.0 of MTR_000001 in monthly_.*01; 1 "),
        (put("meters_df", "monthly_consumption_202301", np.nan), DataError, "got nan of MTR_000001"),
    ],
)
def test_bad_tables_are_refused(change: Callable[[Outputs], Outputs], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        describe_feeder(change(made_feeder()))
