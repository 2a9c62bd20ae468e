"""Meters of households and buildings: profiles, readers, a simulator, injected anomalies."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.households.appliances import london_weather
    from unlearn.households.assignment import customer_loads, spread
    from unlearn.households.buildings import (
        BuildingSeries,
        BuildingSplit,
        buildings_of,
        fill_gaps,
        read_lead,
        split_buildings,
    )
    from unlearn.households.by_household import (
        HouseholdProfiles,
        household_profiles,
        require_other_households,
        select_households,
        split_households,
        with_attribute_as_segment,
    )
    from unlearn.households.customers import CustomerLoads
    from unlearn.households.injection import DayAheadPanel, day_ahead_panel, inject
    from unlearn.households.io.lcl import convert_lcl, read_lcl
    from unlearn.households.io.loads import load_loads, save_loads
    from unlearn.households.io.meters import hourly_meters, load_meters
    from unlearn.households.io.parquet import load_profiles, save_profiles
    from unlearn.households.io.sources import (
        HOUSEHOLD_SOURCES,
        KINDS,
        InjectionOptions,
        load_buildings,
        load_households,
    )
    from unlearn.households.io.wide import read_npz, read_wide
    from unlearn.households.meters import Meters
    from unlearn.households.profiles import DAYS, STEPS, DailyProfiles, ReadingReport, profiles_from_frame
    from unlearn.households.released import release_loads
    from unlearn.households.simulator import simulate_households
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # households: daily profiles with labels
    "DailyProfiles", "HouseholdProfiles", "household_profiles", "profiles_from_frame", "split_households",
    "with_attribute_as_segment", "require_other_households", "DayAheadPanel", "day_ahead_panel", "select_households",
    "save_profiles", "load_profiles", "ReadingReport", "DAYS", "STEPS",
    # sources of households
    "load_households", "HOUSEHOLD_SOURCES", "read_lcl", "convert_lcl", "read_npz", "read_wide", "simulate_households",
    "london_weather",
    # customers: meters that loads are sums of
    "CustomerLoads", "Meters", "customer_loads", "hourly_meters", "load_loads", "load_meters", "release_loads",
    "save_loads", "spread",
    # buildings: hourly readings with a label per hour
    "BuildingSeries", "load_buildings", "read_lead", "buildings_of", "fill_gaps", "split_buildings", "BuildingSplit",
    "inject", "InjectionOptions", "KINDS",
]  # fmt: skip
