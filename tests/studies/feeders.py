"""A small feeder whose numbers can be told by hand or by a few lines of pandas."""

import numpy as np
import pandas as pd


def made_feeder(n: int = 60, n_months: int = 4, anomalous: bool = True, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Meters at 5 transformers, the last of which has none; every third meter is commercial, every sixth anomalous.

    Commercial meters use ten times as much; from the second month on, anomalous meters use half.
    """
    random = np.random.default_rng(seed)
    ids = [f"MTR_{i:06d}" for i in range(n)]
    commercial = np.arange(n) % 3 == 0
    chosen = (np.arange(n) % 6 == 5) & anomalous
    kwh = 100 * random.lognormal(0, 0.3, (n, 1)) * np.where(commercial, 10, 1)[:, None] * np.ones(n_months)
    kwh[chosen, 1:] *= 0.5
    meters = pd.DataFrame(
        {
            "meter_id": ids,
            "transformer_id": [f"TX_{i % 4}" for i in range(n)],
            "customer_class": np.where(commercial, "commercial", "residential"),
            "barangay": "B",
            "lat": 14.5,
            "lon": 121.0,
        }
    )
    months = pd.period_range("2022-11", periods=n_months, freq="M").strftime("%Y%m")
    use = pd.DataFrame(kwh, columns=[f"monthly_consumption_{month}" for month in months])
    labels = pd.DataFrame({"meter_id": np.array(ids)[chosen]})
    labels["anomaly_flag"] = 1
    labels["risk_band"] = [("High", "Low")[i % 2] for i in range(len(labels))]
    labels["anomaly_type"] = [("low_consumption", "spike", "spike")[i % 3] for i in range(len(labels))]
    transformers = pd.DataFrame(
        {
            "transformer_id": [f"TX_{i}" for i in range(5)],
            "feeder_id": ["FD_1", "FD_1", "FD_2", "FD_2", "FD_2"],
            "barangay": ["A", "A", "B", "B", "B"],
            "lat": 14.5 + 0.01 * np.arange(5),
            "lon": 121.0 - 0.01 * np.arange(5),
            "capacity_kVA": 100.0,
        }
    )
    return {"transformers_df": transformers, "meters_df": meters.join(use), "anomaly_labels_df": labels}
