"""What is simulated: set by simulators, kept by what is made of their energies alone, claimed by nothing else."""

import copy
import gc
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unlearn.attacks.outliers import OutlierOptions, draw_outliers, inject_outliers
from unlearn.data.simulated import _SIMULATED
from unlearn.households import (
    HouseholdProfiles,
    day_ahead_panel,
    household_profiles,
    load_households,
    load_profiles,
    profiles_from_frame,
    read_npz,
    save_profiles,
    select_households,
    simulate_households,
    split_households,
    with_attribute_as_segment,
)


@pytest.fixture(scope="module")
def simulated() -> HouseholdProfiles:
    return simulate_households(8, n_days=20, random_state=1)


@pytest.fixture(scope="module")
def real(simulated: HouseholdProfiles) -> HouseholdProfiles:
    """The same numbers, as somebody would have read them."""
    return household_profiles(
        "read", simulated.kwh.copy(), simulated.household, simulated.date, simulated.households, simulated.segments
    )


def test_what_is_made_of_simulated_days_alone_is_simulated(simulated: HouseholdProfiles) -> None:
    train, holdout = split_households(simulated)
    made = [simulated, train, holdout, simulated.to_hourly(), simulated.to_hourly().take([3, 1, 1])]
    made += [select_households(simulated, 3), with_attribute_as_segment(simulated, "ev"), copy.copy(simulated)]
    made += [replace(simulated, name="other"), simulated.take(simulated.date > simulated.days[3])]
    made += [inject_outliers(train, draw_outliers(train, OutlierOptions(households=2, days=3))["seen"])]
    assert all(one.simulated for one in made)
    assert simulated.unlabelled().simulated
    assert load_households("simulator", n_households=3, n_days=8, max_households=2).simulated
    panel = day_ahead_panel(train)
    assert panel.simulated
    assert panel.take(np.arange(5)).simulated


def test_nothing_else_is(real: HouseholdProfiles, simulated: HouseholdProfiles) -> None:
    made = [real, *split_households(real), real.to_hourly(), real.take([1]), day_ahead_panel(real)]
    made += [replace(simulated, kwh=real.kwh), replace(simulated, kwh=simulated.kwh.copy())]
    made += [inject_outliers(real, draw_outliers(simulated, OutlierOptions(households=2, days=3))["seen"])]
    made += [pickle.loads(pickle.dumps(simulated)), copy.deepcopy(simulated)]
    made += [profiles_from_frame(simulated.to_frame(), "simulated households")]
    panel, known = day_ahead_panel(simulated), day_ahead_panel(real)
    made += [replace(panel, features=known.features), replace(panel, kwh=known.kwh)]
    assert not any(one.simulated for one in made)
    with pytest.raises(TypeError):
        replace(real, simulated=True)
    with pytest.raises(AttributeError):
        real.simulated = True


def test_no_file_can_claim_it(tmp_path: Path, simulated: HouseholdProfiles) -> None:
    assert not load_profiles(save_profiles(simulated, tmp_path / "p.parquet")).simulated
    wh = np.rint(simulated.kwh.reshape(8, -1).T * 1000).astype(np.uint16)
    names = np.asarray([f"H{i}" for i in range(8)])
    labels = {"ids": names, "tariff": names, "acorn_grouped": names, "start": np.asarray(["2013-01-01"])}
    np.savez(tmp_path / "simulated households.npz", kwh_x1000=wh, simulated=np.asarray([True]), **labels)
    assert not read_npz(tmp_path / "simulated households.npz").simulated


def test_real_numbers_written_over_simulated_ones_are_real() -> None:
    simulated = simulate_households(2, n_days=8)
    panel = day_ahead_panel(simulated)
    simulated.kwh[3, 4] += 1
    assert not simulated.simulated
    assert not simulated.take([0, 1]).simulated
    panel.features[0, 0, 0] = 2.0
    assert not panel.simulated


def test_arrays_that_are_gone_are_forgotten() -> None:
    gc.collect()
    before = len(_SIMULATED)
    assert len([simulate_households(2, n_days=2).take([0]) for _ in range(5)]) == 5
    gc.collect()
    assert len(_SIMULATED) == before
