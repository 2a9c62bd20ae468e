"""The settings: documented defaults, and every setting that cannot be met is refused with its name."""

import json
from pathlib import Path

import pytest
from hypothesis import given

from tests.generators.feeder.builders import CONFIGS
from unlearn.errors import InputError
from unlearn.generators.feeder import GeneratorConfig


def test_the_defaults_are_the_documented_ones() -> None:
    config = GeneratorConfig()
    assert (config.num_transformers, config.num_meters, config.num_months) == (50, 2000, 12)
    assert (config.anomaly_rate, config.random_seed, config.num_anomalies) == (0.075, 42, 150)
    assert config.geo_bounds == {"lat": (14.4, 14.7), "lon": (120.9, 121.2)}
    assert config.customer_classes == {"residential": 0.7, "commercial": 0.2, "industrial": 0.1}
    assert config.consumption_baselines == {
        "residential": (150, 450), "commercial": (800, 300), "industrial": (2500, 800),
    }  # fmt: skip
    assert config.anomaly_types == {"low_consumption": 1}
    assert config.consumption_columns[-2:] == ["monthly_consumption_202311", "monthly_consumption_202312"]


def test_the_documented_call_works() -> None:
    config = GeneratorConfig(
        random_seed=42, num_transformers=50, num_meters=2000, num_months=12, anomaly_rate=0.075, output_dir=Path("here")
    )
    assert config.to_dict()["output_dir"] == "here"


@given(CONFIGS)
def test_settings_survive_json(config: GeneratorConfig) -> None:
    assert GeneratorConfig(**json.loads(json.dumps(config.to_dict(), allow_nan=False))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"customer_classes": {"residential": 0.7, "commercial": 0.2}}, "customer_classes probabilities must sum to 1"),
        ({"customer_classes": {"residential": 1.1, "commercial": -0.1}}, "probability from 0 to 1 for residential"),
        ({"customer_classes": {"agricultural": 1.0}}, "expected one of commercial, industrial, residential; got 'agr"),
        ({"customer_classes": {"residential": "all"}}, "expected a probability"),
        ({"customer_classes": [0.7, 0.2, 0.1]}, "expected a mapping"),
        ({"customer_classes": {}}, "must sum to 1.0, got 0"),
        ({"anomaly_types": {"teapot": 1.0}}, "anomaly_types: expected one of flatline, low_consumption"),
        ({"anomaly_types": {"spike": 0.5}}, "anomaly_types probabilities must sum to 1.0, got 0.5"),
        ({"geo_bounds": {"lat": (14.7, 14.4), "lon": (120.9, 121.2)}}, "geo_bounds lat: expected lower < upper"),
        ({"geo_bounds": {"lat": (14.4, 14.7), "lon": (121.2, 120.9)}}, "geo_bounds lon: expected lower < upper"),
        ({"geo_bounds": {"lat": (14.4, 94.7), "lon": (120.9, 121.2)}}, "within -85 to 85"),
        ({"geo_bounds": {"lat": (14.4, 14.4001), "lon": (120.9, 121.2)}}, "0.001 or more apart"),
        ({"geo_bounds": {"lat": (14.4, float("nan")), "lon": (120.9, 121.2)}}, "expected two numbers"),
        ({"geo_bounds": {"lat": (14.4, 14.7)}}, "expected the keys lat and lon"),
        ({"num_transformers": 0}, "num_transformers: expected a whole number from 1 to 9,999, got 0"),
        ({"num_transformers": 10_000}, "num_transformers: expected a whole number from 1 to 9,999, got 10000"),
        ({"num_meters": -5}, "num_meters: expected a whole number from 1"),
        ({"num_meters": 2.5}, "num_meters: .* got 2.5"),
        ({"num_months": 0}, "num_months"),
        ({"num_months": True}, "num_months"),
        ({"num_feeders": 100}, "num_feeders: expected a whole number from 1 to 99"),
        ({"random_seed": -1}, "random_seed"),
        ({"anomaly_rate": 1.0}, "anomaly_rate: expected a share of at least 0 and below 1, got 1.0"),
        ({"anomaly_rate": -0.01}, "anomaly_rate"),
        ({"anomaly_rate": float("nan")}, "anomaly_rate"),
        ({"consumption_baselines": {"residential": (0, 1)}}, "residential: expected a mean above 0"),
        ({"consumption_baselines": {"residential": (1, 11)}}, "from 0 to 10 times the mean"),
        ({"consumption_baselines": {"farm": (1, 1)}}, "consumption_baselines: expected one of"),
        ({"consumption_baselines": {"residential": 150}}, "expected two numbers"),
        ({"last_month": "2023-13"}, "last_month: expected a month such as 2023-12"),
        ({"last_month": "December"}, "last_month"),
        ({"last_month": "1700-01", "num_months": 1200}, "ends 1200 months between 1680"),
        ({"risk_thresholds": (0.8, 0.7)}, "risk_thresholds"),
        ({"output_dir": ""}, "output_dir"),
        ({"parquet": "yes"}, "parquet: expected true or false"),
        ({"grid": 14}, "grid"),
    ],
)
def test_what_cannot_be_met_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GeneratorConfig(**changes)
