"""`SyntheticDataPipeline`: generate, check, write; all at once or a chunk of meters at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from unlearn.checks import require_count
from unlearn.errors import DataError, InputError
from unlearn.generators.feeder.audit import Audit
from unlearn.generators.feeder.config import GeneratorConfig
from unlearn.generators.feeder.hourly import grouped_hours, hourly_frames
from unlearn.generators.feeder.meters import CHUNK_METERS, MeterGenerator
from unlearn.generators.feeder.tables import (
    REPORT,
    CsvTable,
    GeoJSONGenerator,
    ParquetTable,
    load_names,
    require_free,
    transformer_buses,
    write_geojson,
)
from unlearn.generators.feeder.transformers import TransformerGenerator
from unlearn.grid import GridCase, load_case
from unlearn.store import replace_folder

log = logging.getLogger(__name__)

Pieces = Iterable[tuple[pd.DataFrame, pd.DataFrame]]


class SyntheticDataPipeline:
    """Generates what a configuration asks for, checks it and writes it.

    `run` writes a chunk of meters at a time, in memory that does not grow with their number; `generate_all` and
    `save_outputs` hold all meters. Both write the same bytes.

    Attributes:
        config: the settings.
        transformers: the generator of transformers.
        meters: the generator of meters.

    Raises:
        InputError: a chunk of less than 1 meter, an unknown grid, or a grid with more loads than transformers.
    """

    def __init__(self, config: GeneratorConfig, chunk_meters: int = CHUNK_METERS) -> None:
        self.config = config
        self._chunk_meters = require_count("chunk_meters", chunk_meters)
        self.transformers = TransformerGenerator(config)
        self.meters = MeterGenerator(config, self.transformers.generate())
        self._grid: GridCase | None = None if config.grid is None else load_case(config.grid)
        if self._grid is not None:
            transformer_buses(self.meters.transformers, self._grid)  # refuses a grid that does not fit

    def generate_all(self) -> dict[str, Any]:
        """Generate everything and check it.

        Returns:
            `transformers_df`, `meters_df`, `anomaly_labels_df`, `geojson` (a FeatureCollection as a dictionary) and
            `report` (text).

        Raises:
            DataError: a check failed.
        """
        transformers = self.meters.transformers
        meters, labels = self.meters.generate()
        audit = Audit(self.config, transformers)
        audit.add(meters, labels)
        audit.require()
        return {
            "transformers_df": transformers,
            "meters_df": meters,
            "anomaly_labels_df": labels,
            "geojson": GeoJSONGenerator().generate(transformers, meters),
            "report": audit.report(),
        }

    def save_outputs(self, outputs: dict[str, Any]) -> Path:
        """Check outputs of `generate_all` again and write them to the configured folder, all or nothing.

        Hours, where they are asked for, are those of the generated meters.

        Args:
            outputs: the four documented keys; others are ignored.

        Returns:
            The folder.

        Raises:
            InputError: the folder holds other data, or an output is missing.
            DataError: a check failed.
        """
        needed = ("transformers_df", "meters_df", "anomaly_labels_df", "geojson")
        missing = [name for name in needed if name not in outputs]
        if missing:
            raise InputError(f"outputs: expected {', '.join(needed)}, missing {', '.join(missing)}.")
        features = outputs["geojson"]["features"]
        pieces = [(outputs["meters_df"], outputs["anomaly_labels_df"])]
        return self._write(outputs["transformers_df"], pieces, features)

    def run(self) -> Path:
        """Generate and write chunk by chunk, all or nothing; the same bytes whatever the chunks.

        Returns:
            The folder.

        Raises:
            InputError: the folder holds other data.
            DataError: a check failed.
        """
        transformers = self.meters.transformers
        features = GeoJSONGenerator().features(transformers, self.meters.meter_ids)
        return self._write(transformers, self._chunks(), features)

    def _chunks(self) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        with tqdm(total=self.config.num_meters, desc="meters", unit="meter", leave=False, delay=1) as progress:
            for meters, labels in self.meters.frames(self._chunk_meters):
                yield meters, labels
                progress.update(len(meters))

    def _write(self, transformers: pd.DataFrame, pieces: Pieces, features: Iterable[dict[str, Any]]) -> Path:
        folder = Path(self.config.output_dir)
        audit = Audit(self.config, transformers)

        def fill(temporary: Path) -> None:
            with ExitStack() as files:
                sinks = {name: self._open(files, temporary, name) for name in ("meter_consumption", "anomaly_labels")}
                for sink in self._open(files, temporary, "transformers"):
                    sink.write(transformers)
                for meters, labels in pieces:
                    audit.add(meters, labels)
                    for sink in sinks["meter_consumption"]:
                        sink.write(meters)
                    for sink in sinks["anomaly_labels"]:
                        sink.write(labels)
            audit.require()
            write_geojson(_counted(features, self.config), temporary / "transformers.geojson")
            self._write_hours(temporary)
            (temporary / REPORT).write_text(audit.report(), encoding="utf-8", newline="\n")

        written = replace_folder(folder, fill, require_free)
        log.info("Wrote %s", written / REPORT)
        return written

    def _open(self, files: ExitStack, folder: Path, name: str) -> list[CsvTable | ParquetTable]:
        sinks: list[CsvTable | ParquetTable] = [files.enter_context(CsvTable(folder / f"{name}.csv"))]
        if self.config.parquet:
            sinks.append(files.enter_context(ParquetTable(folder / f"{name}.parquet")))
        return sinks

    def _write_hours(self, folder: Path) -> None:
        if self.config.hourly:
            with ParquetTable(folder / "hourly_consumption.parquet") as table:
                total = self.meters.n_blocks * self.config.num_months
                for frame in tqdm(hourly_frames(self.meters), "hourly table", total, leave=False, delay=1):
                    table.write(frame)
        if self._grid is not None:
            bus = transformer_buses(self.meters.transformers, self._grid)
            names = np.array(load_names(self._grid))
            mapping = pd.DataFrame({"transformer_id": self.meters.transformers["transformer_id"], "bus": names[bus]})
            with CsvTable(folder / "transformer_buses.csv") as csv:
                csv.write(mapping)
            load_mw = grouped_hours(self.meters, bus, self._grid.n_loads) / 1000
            shapes = self.meters.shapes
            hours = pd.DataFrame({"timestamp": shapes.timestamps, "temperature_c": shapes.temperature_c})
            with ParquetTable(folder / "bus_loads.parquet") as table:
                table.write(pd.concat([hours, pd.DataFrame(load_mw, columns=pd.Index(names))], axis=1))


def _counted(features: Iterable[dict[str, Any]], config: GeneratorConfig) -> Iterator[dict[str, Any]]:
    """Pass features on and refuse them at the end unless they hold every transformer and meter."""
    n_features = n_meters = 0
    for feature in features:
        n_features += 1
        n_meters += len(feature["properties"]["meter_ids"])
        yield feature
    if (n_features, n_meters) != (config.num_transformers, config.num_meters):
        raise DataError(
            f"geojson: expected {config.num_transformers} features that hold {config.num_meters} meters, got "
            f"{n_features} that hold {n_meters}."
        )
