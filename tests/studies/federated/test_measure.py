"""Parts of the study, measured on few simulated households."""

import numpy as np
import pandas as pd
import pytest

from unlearn.errors import InputError
from unlearn.forecasters.specs import TrainingOptions
from unlearn.grid import OperatingCost
from unlearn.households import hourly_meters, simulate_households
from unlearn.linalg import SufficientStatistics
from unlearn.privacy.federated.channel import Traffic
from unlearn.privacy.federated.least_squares import fit_federated
from unlearn.privacy.federated.messages import pack
from unlearn.records import RecordTable
from unlearn.studies.federated.exact import measure_exact
from unlearn.studies.federated.inversion import settings_of, windows_of
from unlearn.studies.federated.members import exact_channel
from unlearn.studies.federated.options import SINGLE, AveragingSettings, FederatedOptions
from unlearn.studies.federated.pooled import fit_pooled, relative_distance
from unlearn.studies.federated.setting import Setting, make_setting, meters_of
from unlearn.studies.federated.traffic import mean_day, measure_traffic, sums_seen

OPTIONS = FederatedOptions(
    utilities=4,
    hours=4,
    public=12,
    averaging=AveragingSettings(rounds=2),
    training=TrainingOptions(epochs=1),
    batch_customers=(1,),
)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting(meters_of(simulate_households(30, n_days=30)), OperatingCost("ieee9"), OPTIONS, 0)


def records(measure, setting: Setting) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    table = RecordTable(seed=0)
    measure(setting, table)
    return table.to_frame()


def test_every_household_belongs_to_one_utility_and_feeder(setting: Setting) -> None:
    ids = [one for own in setting.members for one in own.meters.customer_ids]
    assert sorted(ids) == sorted(setting.meters.customer_ids)
    for own in setting.members:
        assert own.dataset.load_mw[own.dataset.split.train].max(axis=0) == pytest.approx(
            setting.cost.case.nominal_load_mw
        )
    assert len({own.dataset.load_names for own in setting.members}) == 1


def test_who_never_joined_is_in_no_load(setting: Setting) -> None:
    leaving = setting.leaving_customers(2)
    assert {name: len(own) for name, own in leaving.items()} == {"utility_4": 1, "utility_3": 1}
    after = setting.never_joined(leaving)
    for name, customers in leaving.items():
        assert not set(customers) & set(after[name].customer_ids)
        # The library's own way to take a customer out comes to the same loads.
        without = setting.datasets[name].without(customers).scaled_to(setting.cost.case.nominal_load_mw)
        np.testing.assert_allclose(after[name].load_mw, without.load_mw, rtol=1e-12)
        np.testing.assert_allclose(after[name].features, without.features, rtol=1e-12)
    assert after["utility_1"] is setting.datasets["utility_1"]


def test_more_leavers_than_feeders_can_spare_are_refused(setting: Setting) -> None:
    with pytest.raises(InputError, match=r"federated\.leavers: expected feeders that keep a customer each"):
        setting.leaving_customers(30)


def test_too_few_households_are_refused(setting: Setting) -> None:
    few = setting.meters.take(np.arange(20))
    with pytest.raises(InputError, match="expected at least 24 households with all hours"):
        make_setting(few, setting.cost, OPTIONS, 0)


def test_the_pooled_forecaster_is_that_of_the_normal_equations(setting: Setting) -> None:
    pooled = fit_pooled(setting.datasets.values())
    rows = np.concatenate([own.features[own.split.train] for own in setting.datasets.values()])
    load = np.concatenate([own.load_pu[own.split.train] for own in setting.datasets.values()])
    flat = np.column_stack([rows.reshape(len(rows), -1), np.ones(len(rows))])
    expected = flat @ np.linalg.pinv(flat) @ load
    assert relative_distance(pooled.forecast(rows), expected) < 1e-10


def test_one_secure_sum_is_pooled_training(setting: Setting) -> None:
    found = records(measure_exact, setting)
    own = found[found["method"] == "federated"]
    for metric in ("distance", "distance_parameters"):
        assert (own[own["metric"] == metric]["value"] < 1e-9).all()
    wide = found[found["metric"] == "mse"].groupby(["forecaster", "method"])["value"].mean().unstack()
    np.testing.assert_allclose(wide["federated"], wide["pooled"], rtol=1e-9)


def test_a_message_with_somebodys_sums_is_noticed(setting: Setting) -> None:
    channel, utilities = exact_channel(setting.datasets, full=True)
    model = fit_federated(channel)
    looked, seen = sums_seen(channel.traffic, model, utilities)
    assert (looked, seen) == (len(channel.traffic.sent), 0)
    dataset = setting.datasets["utility_2"]
    rows = dataset.split.train
    from torch import from_numpy

    own = SufficientStatistics.of(model.design.rows(dataset.features[rows]), from_numpy(dataset.load_pu[rows]))
    leaked = Traffic(full=True)
    vector = own.moments[0][np.triu_indices(len(own.rounding))].numpy()
    leaked.add("statistics", "utility_2", "coordinator", pack({"sums": vector}))
    assert sums_seen(leaked, model, utilities)[1] == 1


def test_two_totals_tell_of_a_customer(setting: Setting) -> None:
    found = records(measure_traffic, setting)
    relative = found[found["metric"] == "difference_relative"]["value"]
    assert len(relative) == 3
    assert relative.mean() < 1
    sent = found[found["metric"] == "bytes_sent"].set_index("party")["value"]
    received = found[found["metric"] == "bytes_received"].set_index("party")["value"]
    assert sent.sum() == received.sum()
    assert received["coordinator"] == sent.drop("coordinator").sum()


def test_the_mean_day_is_that_of_training_hours(setting: Setting) -> None:
    member = setting.members[0]
    one = member.meters.customer_ids[0]
    hours = member.dataset.timestamps[member.dataset.split.train]
    kwh = pd.Series(member.meters.series(np.array([0]))[0], index=member.meters.hours)[hours]
    np.testing.assert_allclose(mean_day(setting, member.name, [one]), kwh.groupby(hours.hour).mean())


def test_windows_are_those_of_single_feeders_and_the_day_after(setting: Setting) -> None:
    dataset = setting.members[0].dataset
    windows, targets = windows_of(dataset, 5, 0)
    assert windows.shape == (5, 24, 7)
    assert targets.shape == (5, 24)
    load = dataset.load_pu[dataset.split.train] / dataset.load_pu[dataset.split.train].max(axis=0)
    series = np.concatenate([windows[0].T.ravel(), targets[0]])
    seen = np.lib.stride_tricks.sliding_window_view(load, len(series), axis=0)
    assert (np.abs(seen - series).max(axis=2) < 1e-12).any()
    assert (SINGLE, 1, None) in settings_of(OPTIONS)


def test_options_are_refused_before_anything_is_read() -> None:
    for how, said in (
        ({"parts": ("nothing",)}, "federated.parts"),
        ({"seeds": ()}, "federated.seeds"),
        ({"utilities": 3}, "federated.utilities: expected at least 4"),
        ({"leavers": 0}, "federated.leavers"),
        ({"joins": 1.5}, "federated.joins"),
        ({"epsilons": (1.0,)}, "federated.main_epsilon"),
        ({"batches": (0,)}, "federated.lags, .batches"),
        ({"hours": 0}, "federated.hours"),
        ({"aggregates": ("mode",)}, "federated.aggregates"),
        ({"noise_multipliers": (-1.0,)}, "federated.noise_multipliers"),
    ):
        with pytest.raises(InputError, match=said):
            FederatedOptions(**how)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"averaging\.rounds"):
        AveragingSettings(rounds=0)


def test_meters_with_gaps_are_left_out(setting: Setting) -> None:
    meters = hourly_meters(simulate_households(4, n_days=12))
    assert len(meters_of(meters)) == 4
