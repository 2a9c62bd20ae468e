"""What is generated keeps the documented rules whatever the settings; each rule is checked here without the audit."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from scipy import stats
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from tests.generators.feeder.builders import CONFIGS, small
from unlearn.errors import DataError, InputError
from unlearn.generators.feeder import GeneratorConfig, MeterGenerator, SyntheticDataPipeline, TransformerGenerator
from unlearn.generators.feeder.audit import Audit
from unlearn.generators.feeder.meters import BLOCK
from unlearn.generators.feeder.transformers import METER, TRANSFORMER, identifiers, meter_counts, numbers_of, scatter

EARTH_KM = 6371.0088


@given(CONFIGS)
def test_any_valid_settings_keep_every_rule(config: GeneratorConfig) -> None:
    outputs = SyntheticDataPipeline(config).generate_all()
    transformers, meters = outputs["transformers_df"], outputs["meters_df"]
    labels, features = outputs["anomaly_labels_df"], outputs["geojson"]["features"]
    assert (len(transformers), len(meters), len(features)) == (
        config.num_transformers, config.num_meters, config.num_transformers,
    )  # fmt: skip
    assert list(transformers) == ["transformer_id", "feeder_id", "barangay", "lat", "lon", "capacity_kVA"]
    months = pd.period_range(end=config.last_month, periods=config.num_months, freq="M").strftime("%Y%m")
    energy = [f"monthly_consumption_{month}" for month in months]
    head = ["meter_id", "transformer_id", "customer_class", "barangay", "lat", "lon"]
    assert list(meters) == [*head, *energy, "kVA"]
    assert list(labels) == ["meter_id", "anomaly_flag", "risk_band", "anomaly_type"]
    for table in (transformers, meters, labels):
        assert not table.isna().any(axis=None)
        assert table.iloc[:, 0].is_unique
    assert transformers["transformer_id"].str.fullmatch(r"TX_\d{4}").all()
    assert transformers["feeder_id"].str.fullmatch(r"FD_\d{2}").all()
    assert meters["meter_id"].str.fullmatch(r"MTR_\d{6}").all()
    assert transformers["feeder_id"].nunique() <= config.num_feeders
    joined = meters.merge(transformers, on="transformer_id", suffixes=("", "_tx"))
    assert len(joined) == len(meters)
    assert (joined["barangay"] == joined["barangay_tx"]).all()
    assert set(meters["customer_class"]) <= set(config.customer_classes)
    for table in (transformers, meters):
        for axis in ("lat", "lon"):
            assert table[axis].between(*config.geo_bounds[axis]).all()
    assert (meters[energy] >= 0).all(axis=None)
    assert (meters["kVA"] > 0).all()
    assert (transformers["capacity_kVA"] > 0).all()
    assert abs(len(labels) - config.anomaly_rate * config.num_meters) <= 0.5
    assert set(labels["meter_id"]) <= set(meters["meter_id"])
    assert (labels["anomaly_flag"] == 1).all()
    assert set(labels["risk_band"]) <= {"High", "Medium", "Low"}
    assert set(labels["anomaly_type"]) <= set(config.anomaly_types)
    of_transformer = meters.groupby("transformer_id")["meter_id"].agg(list)
    for feature, (_, row) in zip(features, transformers.iterrows(), strict=True):
        ids = feature["properties"]["meter_ids"]
        assert ids == of_transformer.get(row["transformer_id"], [])
        assert feature["geometry"]["coordinates"] == [row["lon"], row["lat"]]


@given(CONFIGS)
def test_the_clusters_are_those_that_dbscan_finds(config: GeneratorConfig) -> None:
    transformers = TransformerGenerator(config)
    frame = transformers.generate()
    radians = np.radians(frame[["lat", "lon"]].to_numpy())
    # Six decimals move a point by up to 0.08 m.
    eps = (2 * transformers.clusters.radius_km + 2e-4) / EARTH_KM
    found = DBSCAN(eps=eps, min_samples=min(3, len(frame)), metric="haversine").fit_predict(radians)
    assert adjusted_rand_score(transformers.cluster_of, found) == 1.0
    assert adjusted_rand_score(transformers.cluster_of, pd.factorize(frame["barangay"])[0]) == 1.0
    by_cluster = frame.groupby("barangay")["feeder_id"].nunique()
    assert (by_cluster == 1).all()


def test_default_clusters_stand_apart_in_degrees_too() -> None:
    """The usual way: DBSCAN on the two columns as they are, eps in degrees."""
    transformers = TransformerGenerator(GeneratorConfig(num_transformers=200))
    frame = transformers.generate()
    found = DBSCAN(eps=2 * transformers.clusters.radius_km / 111.195, min_samples=3).fit_predict(frame[["lat", "lon"]])
    assert len(set(found)) == 40
    assert adjusted_rand_score(transformers.cluster_of, found) > 0.9


def test_successive_clusters_are_neighbours() -> None:
    """25 clusters fill a lattice of 5 x 5: the next one is never farther than a cell and its jitter."""
    centre = TransformerGenerator(GeneratorConfig(num_transformers=125)).clusters.centre
    step = np.diff(centre, axis=0) * 111.195 * [1, np.cos(np.radians(14.55))]
    assert len(centre) == 25
    assert np.hypot(*step.T).max() < 1.4 * 0.3 / 5 * 111.195


@pytest.mark.parametrize("latitude", [0.0, 60.0, -80.0])
def test_scattered_positions_fill_a_disc_evenly(latitude: float) -> None:
    n = 20_000
    lat, lon = scatter(np.full(n, latitude), np.full(n, 10.0), 5.0, np.random.default_rng(0))
    a, b = np.radians(lat), np.radians(latitude)
    half = np.sin((a - b) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(lon - 10.0) / 2) ** 2
    distance = 2 * EARTH_KM * np.arcsin(np.sqrt(half))
    assert distance.max() < 5.0 * 1.005  # degrees of longitude are those of the centre
    assert stats.kstest((distance / 5.0) ** 2, "uniform").statistic < 0.02
    assert (lon > 10).mean() == pytest.approx(0.5, abs=0.02)


def test_meters_are_near_their_transformer() -> None:
    outputs = SyntheticDataPipeline(small()).generate_all()
    joined = outputs["meters_df"].merge(outputs["transformers_df"], on="transformer_id", suffixes=("", "_tx"))
    north = 111.195 * (joined["lat"] - joined["lat_tx"])
    east = 111.195 * np.cos(np.radians(joined["lat"])) * (joined["lon"] - joined["lon_tx"])
    assert np.hypot(north, east).max() < 0.31
    assert np.hypot(north, east).median() > 0.05


def test_a_block_can_be_made_by_itself() -> None:
    generator = MeterGenerator(small())
    whole, _ = generator.generate()
    alone = MeterGenerator(small()).block(1)
    columns = small().consumption_columns
    np.testing.assert_array_equal(alone.kwh, whole[columns].to_numpy()[BLOCK:])
    assert len(alone) == 1500 - BLOCK


def test_another_seed_gives_other_meters_and_another_rate_the_same_normal_ones() -> None:
    first, labels = MeterGenerator(small()).generate()
    again, _ = MeterGenerator(small()).generate()
    pd.testing.assert_frame_equal(first, again)
    other, _ = MeterGenerator(small(random_seed=1)).generate()
    assert (first[small().consumption_columns] != other[small().consumption_columns]).all(axis=None)
    clean, none = MeterGenerator(small(anomaly_rate=0.0)).generate()
    assert len(none) == 0
    normal = ~first["meter_id"].isin(labels["meter_id"])
    pd.testing.assert_frame_equal(first[normal], clean[normal])
    assert (first[~normal] != clean[~normal]).any(axis=1).all()


@given(CONFIGS)
def test_every_transformer_has_a_meter_where_there_are_enough(config: GeneratorConfig) -> None:
    counts = meter_counts(config)
    assert counts.sum() == config.num_meters
    assert counts.min() >= int(config.num_meters >= config.num_transformers)


def test_identifiers_are_padded_as_printf_pads_them() -> None:
    numbers = [1, 42, 9999, 999_999, 1_000_000, 100_000_000]
    assert identifiers(METER, numbers).to_pylist() == [f"MTR_{n:06d}" for n in numbers]
    assert numbers_of(METER, identifiers(METER, numbers)).tolist() == numbers
    wrong = ["MTR_01", "MTR_0000001", "TX_0001", "MTR_", "mtr_000001", "MTR_00000x", None]
    assert (numbers_of(METER, wrong) == -1).all()
    assert numbers_of(TRANSFORMER, ["TX_0007"]).tolist() == [7]


def test_transformers_of_one_s_own_must_be_as_many_as_configured() -> None:
    with pytest.raises(InputError, match="expected 30 rows as in the configuration, got 2"):
        MeterGenerator(small(), TransformerGenerator(small()).generate().head(2))


def spoilt(outputs: dict[str, Any], table: str, column: str, value: object) -> dict[str, Any]:
    frame = outputs[table].copy()
    frame.loc[3, column] = value
    return {**outputs, table: frame}


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("meters_df", "transformer_id", "TX_0999", "foreign keys.*1 meters without transformer"),
        ("meters_df", "meter_id", "MTR_000001", "unique.*2 missing or twice"),
        ("meters_df", "meter_id", "M4", "identifiers"),
        ("meters_df", "barangay", None, "no null values.*1 nulls"),
        ("meters_df", "monthly_consumption_202312", np.nan, "null"),
        ("meters_df", "monthly_consumption_202312", -0.01, "not negative.*1 values"),
        ("meters_df", "kVA", 0.0, "ratings positive"),
        ("meters_df", "lat", 14.3999, "bounds.*1 outside"),
        ("meters_df", "customer_class", "farm", "known classes.*1 unknown"),
        ("transformers_df", "lon", 121.3, "bounds"),
        ("transformers_df", "transformer_id", "TX_0001", "unique"),
        ("transformers_df", "feeder_id", "F1", "feeders"),
        ("transformers_df", "capacity_kVA", -1.0, "ratings"),
        ("anomaly_labels_df", "meter_id", "MTR_999999", "foreign keys.*1 labels without meter"),
        ("anomaly_labels_df", "anomaly_flag", 0, "known"),
        ("anomaly_labels_df", "risk_band", "Severe", "bands"),
        ("anomaly_labels_df", "anomaly_type", "spike", "types"),
    ],
)
def test_the_audit_finds_what_breaks_a_rule(table: str, column: str, value: object, message: str) -> None:
    outputs = SyntheticDataPipeline(small()).generate_all()
    broken = spoilt(outputs, table, column, value)
    audit = Audit(small(), broken["transformers_df"])
    audit.add(broken["meters_df"], broken["anomaly_labels_df"])
    with pytest.raises(DataError, match=message):
        audit.require()


def test_the_audit_counts_meters_months_and_anomalies() -> None:
    outputs = SyntheticDataPipeline(small()).generate_all()
    meters, labels = outputs["meters_df"], outputs["anomaly_labels_df"]
    audit = Audit(small(), outputs["transformers_df"])
    audit.add(meters.head(1400), labels)
    with pytest.raises(DataError, match=r"record counts.*1400 meters"):
        audit.require()
    audit = Audit(small(anomaly_rate=0.1), outputs["transformers_df"])
    audit.add(meters, labels)
    with pytest.raises(DataError, match=r"anomaly rate within 2 points \(0.0747, expected 0.1000\)"):
        audit.require()
    with pytest.raises(DataError, match="meters_df: expected the columns"):
        audit.add(meters.drop(columns="kVA"), labels)


def test_half_a_meter_is_no_breach_of_the_rate() -> None:
    """7.5 % of 10 meters is 1 meter, 2.5 points too many."""
    outputs = SyntheticDataPipeline(small(num_meters=10)).generate_all()
    assert len(outputs["anomaly_labels_df"]) == 1


def test_the_report_tells_what_the_tables_hold() -> None:
    outputs = SyntheticDataPipeline(small()).generate_all()
    meters, report = outputs["meters_df"], outputs["report"]
    energy = meters[small().consumption_columns]
    for name, group in energy.groupby(meters["customer_class"]):
        (line,) = re.findall(rf"^  {name} .*$", report, re.MULTILINE)
        n, _, mean, least, most = map(float, line.split()[1:])
        assert n == len(group)
        assert mean == pytest.approx(group.to_numpy().mean(), abs=0.006)
        assert (least, most) == (group.to_numpy().min(), group.to_numpy().max())
    assert f"2023-11 {energy.iloc[:, 1].sum():>18.2f}" in report
    bands = outputs["anomaly_labels_df"]["risk_band"].value_counts()
    assert f"low_consumption: High {bands['High']}, Medium {bands['Medium']}, Low {bands['Low']}" in report
    assert report.count("[pass]") == 8
    assert "FAIL" not in report
