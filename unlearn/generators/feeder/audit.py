"""The documented checks of what was generated, made piece by piece, and the report that tells them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unlearn.checks import IntArray
from unlearn.errors import DataError
from unlearn.generators.feeder.config import CLASSES, GeneratorConfig
from unlearn.generators.feeder.meters import RISK_BANDS
from unlearn.generators.feeder.transformers import FEEDER, METER, TRANSFORMER, numbers_of

TRANSFORMER_COLUMNS = ("transformer_id", "feeder_id", "barangay", "lat", "lon", "capacity_kVA")
LABEL_COLUMNS = ("meter_id", "anomaly_flag", "risk_band", "anomaly_type")

#: Tolerance of the share of anomalous meters; or half a meter where that is more.
RATE_TOLERANCE = 0.02


def meter_columns(config: GeneratorConfig) -> list[str]:
    """Columns of `meter_consumption.csv`."""
    head = ["meter_id", "transformer_id", "customer_class", "barangay", "lat", "lon"]
    return [*head, *config.consumption_columns, "kVA"]


@dataclass(frozen=True)
class Check:
    """One check: what it is, how many values break it, and what was found."""

    name: str
    broken: int
    found: str

    @property
    def passed(self) -> bool:
        return self.broken == 0


class Audit:
    """Counts what breaks the documented rules, and sums up what there is.

    Sums are of whole hundredths of a kWh, so they do not depend on how the meters were divided.
    """

    def __init__(self, config: GeneratorConfig, transformers: pd.DataFrame) -> None:
        self.config = config
        _require_columns("transformers_df", transformers, list(TRANSFORMER_COLUMNS))
        self._transformers = transformers
        self._known = pd.Index(transformers["transformer_id"])
        # A place for each number from 1; number 0 takes what is no identifier or out of range.
        self._seen = np.zeros(config.num_meters + 1, np.int64)
        self._labelled = np.zeros(config.num_meters + 1, np.int64)
        self._n_meters = self._n_labels = 0
        self._bad = {"keys": 0, "nulls": 0, "bounds": 0, "negative": 0, "values": 0}
        self._count_bad("nulls", transformers.isna())
        self._count_bad("bounds", ~self._inside(transformers))
        self._count_bad("negative", transformers["capacity_kVA"] <= 0)
        self._count_bad("values", numbers_of(TRANSFORMER, self._known) < 1)
        self._count_bad("values", numbers_of(FEEDER, transformers["feeder_id"]) < 1)
        n_classes, n_months = len(CLASSES), config.num_months
        self._class_count = np.zeros(n_classes, np.int64)
        self._class_sum = np.zeros(n_classes, np.int64)
        self._class_range = np.array([[2**62, -1]] * n_classes, np.int64)
        self._month_sum = np.zeros(n_months, np.int64)
        self._types = list(config.anomaly_types)
        self._label_count = np.zeros((len(self._types), len(RISK_BANDS)), np.int64)

    def add(self, meters: pd.DataFrame, labels: pd.DataFrame) -> None:
        """Take in some meters, each once, and the labels of some, which may belong to other meters."""
        _require_columns("meters_df", meters, meter_columns(self.config))
        _require_columns("anomaly_labels_df", labels, list(LABEL_COLUMNS))
        for table in (meters, labels):
            self._count_bad("nulls", table.isna())
        self._seen += np.bincount(self._numbers(meters), minlength=len(self._seen))
        self._count_bad("keys", self._known.unique().get_indexer(pd.Index(meters["transformer_id"])) < 0)
        self._count_bad("bounds", ~self._inside(meters))
        kwh = meters[self.config.consumption_columns].to_numpy(np.float64)
        self._count_bad("negative", ~(kwh >= 0))
        self._count_bad("negative", ~(meters["kVA"] > 0))
        self._add_use(pd.Index(CLASSES).get_indexer(pd.Index(meters["customer_class"])), kwh)
        self._n_meters += len(meters)
        self._labelled += np.bincount(self._numbers(labels), minlength=len(self._labelled))
        self._n_labels += len(labels)
        self._count_bad("values", labels["anomaly_flag"] != 1)
        types = pd.Index(self._types).get_indexer(pd.Index(labels["anomaly_type"]))
        bands = pd.Index(RISK_BANDS).get_indexer(pd.Index(labels["risk_band"]))
        known = (types >= 0) & (bands >= 0)
        self._count_bad("values", ~known)
        np.add.at(self._label_count, (types[known], bands[known]), 1)

    def checks(self) -> tuple[Check, ...]:
        """The outcome of each check."""
        config, bad = self.config, self._bad
        counts = f"{len(self._transformers)} transformers, {self._n_meters} meters, {config.num_months} months"
        short = abs(len(self._transformers) - config.num_transformers) + abs(self._n_meters - config.num_meters)
        rate = self._n_labels / max(self._n_meters, 1)
        tolerance = max(RATE_TOLERANCE, 0.5 / config.num_meters)
        off_rate = int(abs(rate - config.anomaly_rate) > tolerance + 1e-12)
        doubled = int(self._known.duplicated().sum() + (self._seen[1:] != 1).sum() + (self._labelled[1:] > 1).sum())
        unlabelled = int(((self._labelled > 0) & (self._seen == 0))[1:].sum() + self._labelled[0])
        foreign = f"{bad['keys']} meters without transformer, {unlabelled} labels without meter"
        return (
            Check("record counts match the configuration", short, counts),
            Check(
                "identifiers are well-formed and unique", doubled + int(self._seen[0]), f"{doubled} missing or twice"
            ),
            Check("anomaly rate within 2 points", off_rate, f"{rate:.4f}, expected {config.anomaly_rate:.4f}"),
            Check("foreign keys", bad["keys"] + unlabelled, foreign),
            Check("no null values", bad["nulls"], f"{bad['nulls']} nulls"),
            Check("coordinates in bounds", bad["bounds"], f"{bad['bounds']} outside"),
            Check("consumption not negative, ratings positive", bad["negative"], f"{bad['negative']} values"),
            Check("known classes, types, bands, feeders", bad["values"], f"{bad['values']} unknown"),
        )

    def require(self) -> tuple[Check, ...]:
        """Return the outcome of each check.

        Raises:
            DataError: a check failed; the message says which and what was found.
        """
        checks = self.checks()
        failed = [f"{check.name} ({check.found})" for check in checks if not check.passed]
        if failed:
            raise DataError(f"generated data: expected to pass every check, failed: {'; '.join(failed)}.")
        return checks

    def report(self) -> str:
        """The text of `generation_report.txt`: settings, summary and checks; nothing that depends on the clock."""
        config = self.config
        settings = {name: value for name, value in config.to_dict().items() if name != "output_dir"}
        lines = [
            TITLE,
            "",
            "Settings",
            *(f"  {name}: {json.dumps(value)}" for name, value in settings.items()),
            "",
            "Summary",
            f"  transformers: {len(self._transformers)}, in {self._transformers['barangay'].nunique()} barangays on "
            f"{self._transformers['feeder_id'].nunique()} feeders, "
            f"{self._transformers['capacity_kVA'].sum():.1f} kVA in all",
            f"  meters: {self._n_meters}; months: {config.months[0]:%Y-%m} to {config.months[-1]:%Y-%m}",
            "",
            "Monthly consumption by class [kWh]",
            f"  {'class':<12} {'meters':>9} {'share':>7} {'mean':>12} {'least':>10} {'most':>12}",
        ]
        for c, name in enumerate(CLASSES):
            if n := int(self._class_count[c]):
                least, most = self._class_range[c] / 100
                mean = int(self._class_sum[c]) / 100 / n / config.num_months
                lines.append(
                    f"  {name:<12} {n:>9} {n / self._n_meters:>7.4f} {mean:>12.2f} {least:>10.2f} {most:>12.2f}"
                )
        lines += ["", "Total consumption by month [kWh]"]
        lines += [
            f"  {month:%Y-%m} {int(total) / 100:>18.2f}"
            for month, total in zip(config.months, self._month_sum, strict=True)
        ]
        lines += ["", f"Anomalies: {self._n_labels} meters, rate {self._n_labels / max(self._n_meters, 1):.4f}"]
        lines += [
            f"  {name}: " + ", ".join(f"{band} {n}" for band, n in list(zip(RISK_BANDS, row, strict=True))[::-1])
            for name, row in zip(self._types, self._label_count, strict=True)
        ]
        lines += ["", "Validation"]
        lines += [f"  [{'pass' if c.passed else 'FAIL'}] {c.name}: {c.found}" for c in self.checks()]
        return "\n".join(lines) + "\n"

    def _add_use(self, customer_class: IntArray, kwh: np.ndarray) -> None:
        self._count_bad("values", customer_class < 0)
        usable = (customer_class >= 0) & np.isfinite(kwh).all(axis=1)
        code = customer_class[usable]
        hundredths = np.rint(100 * kwh[usable]).astype(np.int64)
        self._month_sum += hundredths.sum(axis=0)
        self._class_count += np.bincount(code, minlength=len(CLASSES))
        np.add.at(self._class_sum, code, hundredths.sum(axis=1))
        np.minimum.at(self._class_range[:, 0], code, hundredths.min(axis=1))
        np.maximum.at(self._class_range[:, 1], code, hundredths.max(axis=1))

    def _numbers(self, table: pd.DataFrame) -> IntArray:
        number = numbers_of(METER, table["meter_id"])
        return np.where((number < 1) | (number >= len(self._seen)), 0, number)

    def _inside(self, table: pd.DataFrame) -> pd.Series:
        (south, north), (west, east) = self.config.geo_bounds["lat"], self.config.geo_bounds["lon"]
        return table["lat"].between(south, north) & table["lon"].between(west, east)

    def _count_bad(self, kind: str, bad: pd.DataFrame | pd.Series | np.ndarray) -> None:
        self._bad[kind] += int(np.count_nonzero(np.asarray(bad)))


#: First line of the report; a folder with it holds an earlier run.
TITLE = "Generation report of synthetic feeder data"


def _require_columns(name: str, table: pd.DataFrame, columns: list[str]) -> None:
    if not isinstance(table, pd.DataFrame) or list(table.columns) != columns:
        got = list(table.columns) if isinstance(table, pd.DataFrame) else type(table).__name__
        raise DataError(f"{name}: expected the columns {columns}, got {got}.")
