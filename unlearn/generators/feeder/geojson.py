"""Transformers as a GeoJSON FeatureCollection (RFC 7946): points with the meters that they serve."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unlearn.errors import MismatchError

_PROPERTIES = ("transformer_id", "feeder_id", "barangay", "capacity_kVA")


class GeoJSONGenerator:
    """A feature per transformer; coordinates are longitude, then latitude (WGS 84).

    Properties: `transformer_id`, `feeder_id`, `barangay`, `capacity_kVA`, `num_meters`, `meter_ids`.
    """

    def generate(self, transformers_df: pd.DataFrame, meters_df: pd.DataFrame) -> dict[str, Any]:
        """Return the collection of all transformers.

        Raises:
            MismatchError: a meter names a transformer that is not among them.
        """
        known = pd.Index(transformers_df["transformer_id"])
        of_meter = known.get_indexer(pd.Index(meters_df["transformer_id"]))
        if (of_meter < 0).any():
            row = int(np.flatnonzero(of_meter < 0)[0])
            raise MismatchError(
                f"geojson: expected the transformer of each meter among {len(known)} transformers, got "
                f"{meters_df['transformer_id'].iloc[row]!r} at meter {row}."
            )
        order = np.argsort(of_meter, kind="stable")
        ids = meters_df["meter_id"].to_numpy(dtype=object)[order]
        bounds = np.searchsorted(of_meter[order], np.arange(len(known) + 1))
        features = self.features(transformers_df, lambda t: ids[bounds[t] : bounds[t + 1]].tolist())
        return {"type": "FeatureCollection", "features": list(features)}

    def features(
        self, transformers_df: pd.DataFrame, meter_ids: Callable[[int], list[str]]
    ) -> Iterator[dict[str, Any]]:
        """Yield the feature of each transformer in turn, so that not all meters need be held at once.

        Args:
            transformers_df: the transformers.
            meter_ids: gives the meters of the transformer at a position.
        """
        for t, row in enumerate(transformers_df.to_dict("records")):
            ids = meter_ids(t)
            yield {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [row["lon"], row["lat"]]},
                "properties": {**{name: row[name] for name in _PROPERTIES}, "num_meters": len(ids), "meter_ids": ids},
            }


def write_geojson(features: Iterable[dict[str, Any]], path: Path) -> None:
    """Write a FeatureCollection, a line per feature."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [\n')
        for k, feature in enumerate(features):
            file.write((",\n" if k else "") + json.dumps(feature, allow_nan=False))
        file.write("\n]}\n")
