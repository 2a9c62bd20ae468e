"""Hourly load data: one container, readers for public and private data, a synthetic source."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.data.bigdeal2022 import read_bigdeal2022
    from unlearn.data.dataset import FittedConstant, LoadDataset, dataset_from_frames
    from unlearn.data.features import CALENDAR_NAMES, WEATHER_NAMES, StandardScaler, calendar_features, distinct_columns
    from unlearn.data.files import cache_dir, fetch, fetch_wheel
    from unlearn.data.gefcom2012 import read_gefcom2012
    from unlearn.data.lags import Lags
    from unlearn.data.poisoning import Poisoned, poison
    from unlearn.data.sources import SOURCES, load_dataset
    from unlearn.data.splits import FAIR, PUBLISHED, Split, SplitSpec, remain_rows
    from unlearn.data.synthetic import make_synthetic
    from unlearn.data.tables import read_tables
    from unlearn.data.temperature import temperature_features
    from unlearn.data.tx123bt import read_tx123bt
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # the data set
    "LoadDataset", "FittedConstant", "dataset_from_frames",
    # dividing its rows
    "SplitSpec", "Split", "FAIR", "PUBLISHED", "remain_rows",
    # poisoned training hours
    "Poisoned", "poison",
    # features
    "CALENDAR_NAMES", "WEATHER_NAMES", "calendar_features", "temperature_features", "distinct_columns",
    "Lags", "StandardScaler",
    # sources
    "load_dataset", "SOURCES", "read_gefcom2012", "read_bigdeal2022", "read_tx123bt", "make_synthetic", "read_tables",
    # fetching
    "fetch", "fetch_wheel", "cache_dir",
]  # fmt: skip
