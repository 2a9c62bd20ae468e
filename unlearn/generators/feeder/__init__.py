"""Synthetic feeders: transformers, their meters, anomalies and hours, after the GhostLoad Mapper generator.

>>> from unlearn.generators.feeder import GeneratorConfig, SyntheticDataPipeline
>>> pipeline = SyntheticDataPipeline(GeneratorConfig(num_meters=5000, output_dir="generated_data"))
>>> outputs = pipeline.generate_all()
>>> folder = pipeline.save_outputs(outputs)
"""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.generators.feeder.anomalies import ANOMALIES, AnomalyEffect, MeterUse, register_anomaly
    from unlearn.generators.feeder.config import CLASSES, FeederGenerator, FeederOptions, GeneratorConfig
    from unlearn.generators.feeder.hourly import block_hours, daily_profiles, grouped_hours, hourly_frames
    from unlearn.generators.feeder.meters import MeterBlock, MeterGenerator
    from unlearn.generators.feeder.pipeline import SyntheticDataPipeline
    from unlearn.generators.feeder.tables import GeoJSONGenerator, bus_loads, transformer_buses
    from unlearn.generators.feeder.transformers import TransformerGenerator
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # as a generator of daily profiles with all its settings
    "FeederGenerator", "FeederOptions",
    # the documented generator
    "GeneratorConfig", "TransformerGenerator", "MeterGenerator", "GeoJSONGenerator", "SyntheticDataPipeline",
    "CLASSES", "MeterBlock",
    # anomalies of one's own
    "ANOMALIES", "AnomalyEffect", "MeterUse", "register_anomaly",
    # hours: of meters, of groups of transformers, of days drawn at random
    "block_hours", "hourly_frames", "grouped_hours", "daily_profiles",
    # loads on a grid
    "bus_loads", "transformer_buses",
]  # fmt: skip
