"""Hourly load data: one container, readers for public and private data, a synthetic source."""

from unlearn.data.buildings.injection import KINDS, InjectionOptions, inject
from unlearn.data.buildings.lead import read_lead
from unlearn.data.buildings.series import BuildingSeries, buildings_of, fill_gaps
from unlearn.data.buildings.sources import load_buildings
from unlearn.data.buildings.splits import BuildingSplit, split_buildings
from unlearn.data.dataset import FittedConstant, LoadDataset, dataset_from_frames
from unlearn.data.download import cache_dir, fetch, fetch_wheel
from unlearn.data.features import CALENDAR_NAMES, WEATHER_NAMES, calendar_features, distinct_columns
from unlearn.data.gefcom2012 import read_gefcom2012
from unlearn.data.meters.choice import select_households
from unlearn.data.meters.day_ahead import DayAheadPanel, day_ahead_panel
from unlearn.data.meters.households import (
    HouseholdProfiles,
    household_profiles,
    require_other_households,
    split_households,
    with_attribute_as_segment,
)
from unlearn.data.meters.lcl import convert_lcl, read_lcl
from unlearn.data.meters.npz import read_npz
from unlearn.data.meters.parquet import load_profiles, save_profiles
from unlearn.data.meters.profiles import DAYS, STEPS, DailyProfiles, profiles_from_frame
from unlearn.data.meters.reading import ReadingReport
from unlearn.data.meters.sources import HOUSEHOLD_SOURCES, load_households
from unlearn.data.meters.wide import read_wide
from unlearn.data.poisoning import POISONS, Poisoned, poison
from unlearn.data.scaler import StandardScaler
from unlearn.data.simulator.households import simulate_households
from unlearn.data.simulator.weather import london_weather
from unlearn.data.sources import SOURCES, load_dataset
from unlearn.data.splits import FAIR, PUBLISHED, Split, SplitSpec, remain_rows
from unlearn.data.synthetic import make_synthetic
from unlearn.data.tables import read_tables
from unlearn.data.tx123bt import read_tx123bt

__all__ = [
    # the data set
    "LoadDataset",
    "FittedConstant",
    "dataset_from_frames",
    # dividing its rows
    "SplitSpec",
    "Split",
    "FAIR",
    "PUBLISHED",
    "remain_rows",
    # poisoned training hours
    "POISONS",
    "Poisoned",
    "poison",
    # features
    "CALENDAR_NAMES",
    "WEATHER_NAMES",
    "calendar_features",
    "distinct_columns",
    "StandardScaler",
    # households: daily profiles with labels
    "DailyProfiles",
    "HouseholdProfiles",
    "household_profiles",
    "profiles_from_frame",
    "split_households",
    "with_attribute_as_segment",
    "require_other_households",
    "DayAheadPanel",
    "day_ahead_panel",
    "select_households",
    "save_profiles",
    "load_profiles",
    "ReadingReport",
    "DAYS",
    "STEPS",
    # sources
    "load_dataset",
    "SOURCES",
    "read_gefcom2012",
    "read_tx123bt",
    "make_synthetic",
    "read_tables",
    # sources of households
    "load_households",
    "HOUSEHOLD_SOURCES",
    "read_lcl",
    "convert_lcl",
    "read_npz",
    "read_wide",
    "simulate_households",
    "london_weather",
    # buildings: hourly readings with a label per hour
    "BuildingSeries",
    "load_buildings",
    "read_lead",
    "buildings_of",
    "fill_gaps",
    "split_buildings",
    "BuildingSplit",
    "inject",
    "InjectionOptions",
    "KINDS",
    # fetching
    "fetch",
    "fetch_wheel",
    "cache_dir",
]
