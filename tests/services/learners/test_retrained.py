"""Models trained anew: equal to fits on data that never had what was removed, shard by shard, whatever came before."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import unlearn
from tests.households.customer_data import SPLIT, classes, loads, meters, places, readings
from tests.proofs import proof_count
from unlearn.detectors import Autoencoder, cut_windows, fit_candidates, scale
from unlearn.errors import DataError, InputError, MismatchError
from unlearn.generators.faraday import FaradayOptions, MixtureOptions, VaeOptions, fit_faraday
from unlearn.households import (
    BuildingSeries,
    CustomerLoads,
    HouseholdProfiles,
    customer_loads,
    hourly_meters,
    household_profiles,
)
from unlearn.services.base import CUSTOMERS, EXACT, HOURS, LEARNERS, LOADS, Change, Learner
from unlearn.services.learners.learnable import left_out_in
from unlearn.services.learners.retrained import DetectorLearner, GeneratorLearner
from unlearn.services.learners.shards import shard_of

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = FaradayOptions(
    VaeOptions(latent=2, hidden=8, epochs=2, batch_size=128), MixtureOptions(n_components=2, max_iter=5, cluster_iter=1)
)
TINY = {"hidden": 2, "epochs": 1, "batch_size": 128}
GENERATOR = GeneratorLearner(SMALL, seed=1, shards=3)
DETECTOR = DetectorLearner(options=TINY, length=24, stride=24, least_hours=48, seed=1, shards=3)
BOTH = pytest.mark.parametrize("learner", [GENERATOR, DETECTOR], ids=["generator", "detector"])


@pytest.fixture(scope="module")
def data() -> CustomerLoads:
    return loads(lives=True)


@pytest.fixture(scope="module")
def models(data: CustomerLoads) -> dict[str, Any]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {own.kind: own.fit(data) for own in (GENERATOR, DETECTOR)}
    torch.set_num_threads(before)
    return found


def numbers(part: Any) -> dict[str, torch.Tensor]:
    """Every fitted number of a part."""
    if not hasattr(part, "vae"):
        return part.network.state_dict()
    mixture = part.mixture
    arrays = [mixture.weights, mixture.means, mixture.factors, *mixture.labels, part.residual]
    own = {str(i): torch.from_numpy(array) for i, array in enumerate(arrays)}
    return {**part.vae.state_dict(), **own, "scale": torch.tensor([part.scaler.mean, part.scaler.sd])}


def same(part: Any, other: Any) -> bool:
    """Whether two parts have the same numbers, to what sums in another order change."""
    pairs = numbers(part), numbers(other)
    return pairs[0].keys() == pairs[1].keys() and all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)
        for a, b in zip(pairs[0].values(), pairs[1].values(), strict=True)
    )


def rebuilt(gone: list[str], blank: dict[str, slice] | None = None, without: str = "") -> CustomerLoads:
    """A data set built from a table in which some customers never were, nor the measurements of some hours."""
    table = readings(lives=True)
    for load, hours in (blank or {}).items():
        mine = [own for own in table if places()[own] == load]
        block = table.loc[table.index[hours], mine]
        table.loc[table.index[hours], mine] = block.where(block.isna(), 0.0)
    kept = [own for own in table if own not in gone and places()[own] != without]
    own = hourly_meters(table[kept], segments=classes()[kept])
    return customer_loads(own, {one: places()[one] for one in kept}, split=SPLIT)


def of_customers(data: CustomerLoads, names: list[str], case: str = "leaves") -> Change:
    return Change(CUSTOMERS, data, data.without(names, case), tuple(names), case=case)


@BOTH
def test_forgetting_equals_a_fit_on_data_that_never_had_the_customers(
    learner: Any, data: CustomerLoads, models: dict[str, Any]
) -> None:
    model, names = models[learner.kind], ["c004", "c011"]
    shards = set(shard_of(names, 3, 1).tolist())
    assert len(shards) < 3
    done = learner.forget(model, of_customers(data, names))
    fresh = learner.fit(rebuilt(names))
    for k in range(3):
        assert same(done.model.parts[k], fresh.parts[k])
        assert (done.model.parts[k] is model.parts[k]) == (k not in shards)
        assert same(done.model.parts[k], model.parts[k]) == (k not in shards)
    assert done.model.fingerprints == fresh.fingerprints
    assert done.model.sizes == fresh.sizes
    assert done.complete
    assert done.route == learner.route(model, of_customers(data, names))
    assert done.route.method == f"{len(shards)} of 3 shards trained anew"
    assert done.route.guarantee == EXACT
    assert done.route.trains
    assert all(own.saw and own.refitted for own in done.constants)
    assert done.numbers["shards_trained"] == len(shards)
    assert done.numbers[f"{learner.unit}_after"] == sum(fresh.sizes) < done.numbers[f"{learner.unit}_before"]


@pytest.mark.slow
@BOTH
def test_one_request_after_another_gives_what_a_joint_one_gives(
    learner: Any, data: CustomerLoads, models: dict[str, Any]
) -> None:
    """An objector, hours of one load, another customer, a load withdrawn: left out once is left out for good."""
    model, hours = models[learner.kind], slice(100, 130)
    objects = of_customers(data, ["c004"], "objects")
    first = learner.forget(model, objects)
    blank = {"bus_2": hours}
    second_data = rebuilt(["c004"], blank)
    rows = np.arange(hours.start, hours.stop)
    second = learner.forget(first.model, Change(HOURS, objects.after, second_data, loads=("bus_2",), rows=rows))
    assert set(second.model.left_out) == {"bus_2"}
    third = learner.forget(second.model, of_customers(second_data, ["c011"]))
    mask = np.zeros((len(data.timestamps), 3), dtype=bool)
    mask[hours, 1] = True
    joint = rebuilt(["c004", "c011"], blank)
    fresh = learner.fit(joint, mask)
    assert third.model.fingerprints == fresh.fingerprints
    assert all(same(a, b) for a, b in zip(third.model.parts, fresh.parts, strict=True))
    assert third.model.left_out == fresh.left_out
    # Zeros that stand for removed hours would be learnt as readings otherwise.
    assert learner.fit(joint).fingerprints != fresh.fingerprints
    after = rebuilt(["c004", "c011"], without="bus_2")
    gone = tuple(own for own in joint.customer_ids if places()[own] == "bus_2")
    last = learner.forget(third.model, Change(LOADS, joint, after, gone, loads=("bus_2",)))
    assert last.model.fingerprints == learner.fit(after).fingerprints
    assert last.model.left_out == {}


class Kept(GeneratorLearner):
    """A generator that is its training profiles: what a shard was trained on, exactly."""

    def _train(self, examples: HouseholdProfiles, seed: int) -> Any:
        return examples

    def _audit(self, *_: Any) -> dict[str, float | None]:
        return {}


@pytest.mark.parametrize("seed", range(proof_count(40)))
def test_random_requests_leave_each_shard_the_days_that_nobody_asked_to_remove(seed: int) -> None:
    """Against a table in which every removed reading is marked, whatever the order of requests."""
    random = np.random.default_rng(seed)
    learner = Kept(SMALL, seed=seed, shards=4)
    table, blank, asked = readings(lives=True), np.zeros((500, 60), dtype=bool), []
    allowed = table.copy()
    allowed.iloc[350:] = np.nan
    data = before = loads(lives=True)
    model = learner.fit(data)
    for i in random.permutation(60)[:8]:
        name, rows = table.columns[i], np.arange(*np.sort(random.choice(350, 2, replace=False)))
        kind = random.integers(3)
        if kind == 2:
            mine = np.array([places()[own] == places()[name] for own in table])
            blank[np.ix_(rows, mine)] = True
            change = {"subject": HOURS, "loads": (places()[name],), "rows": rows}
        else:
            alive = np.flatnonzero(table[name].notna())
            hours = None if kind else np.intersect1d(rows, alive)
            if hours is not None and not len(hours):
                continue
            asked.append((name, str(random.choice(["leaves", "objects"])), hours))
            allowed.loc[allowed.index if hours is None else allowed.index[hours], name] = np.nan
            change = {"subject": CUSTOMERS, "customers": (name,)}
        made = hourly_meters(table.mask(blank & table.notna().to_numpy(), 0.0), segments=classes())
        data = customer_loads(made, places(), split=SPLIT)
        for one, case, hours in asked:
            data = data.without([one], case, hours)
        request = Change(before=before, after=data, **change)
        if learner.route(model, request) is not None:
            model = learner.forget(model, request).model
        before = data
    allowed = allowed.mask(blank)
    shard = dict(zip(table, shard_of(table, 4, seed), strict=True))
    for k, part in enumerate(model.parts):
        names = part.households["household_id"].to_numpy()[part.household]
        found = set(zip(names, pd.DatetimeIndex(part.date), strict=True))
        assert found == {
            (own, day)
            for own in table
            if shard[own] == k
            for day, hours in allowed[own].groupby(allowed.index.normalize())
            if len(hours) == 24 and hours.notna().all()
        }
        assert len(part) == len(found)


@BOTH
def test_what_was_never_learnt_needs_nothing(learner: Any, data: CustomerLoads, models: dict[str, Any]) -> None:
    model, hours = models[learner.kind], data.split.test[:30]
    late = Change(CUSTOMERS, data, data.without(["c007"], hours=hours), ("c007",), rows=hours, whole=False)
    assert learner.route(model, late) is None
    with pytest.raises(InputError, match=f"expected {learner.unit} that the {learner.kind} learnt, got none"):
        learner.forget(model, late)
    # Hours of a load, of test rows.
    assert learner.route(model, Change(HOURS, data, data, rows=hours)) is None


@BOTH
def test_some_hours_of_a_customer_take_the_days_and_windows_that_hold_them(
    learner: Any, data: CustomerLoads, models: dict[str, Any]
) -> None:
    rows = np.arange(100, 104)
    part = Change(CUSTOMERS, data, data.without(["c007"], hours=rows), ("c007",), rows=rows, whole=False)
    done = learner.forget(models[learner.kind], part)
    assert done.model.left_out == {}
    assert done.numbers["shards_trained"] == 1
    if learner is GENERATOR:
        assert done.numbers["profiles_before"] - done.numbers["profiles_after"] == 1


@BOTH
def test_settings_and_models_come_back_from_files(
    learner: Any, data: CustomerLoads, models: dict[str, Any], tmp_path: Path
) -> None:
    values = json.loads(json.dumps({**dataclasses.asdict(learner), "kind": learner.kind}))
    own: Learner = LEARNERS[values["kind"]].from_settings(values)  # type: ignore[attr-defined]
    assert own == learner
    model = models[learner.kind]
    own.save(model, tmp_path)
    found = own.load(tmp_path)
    assert all(same(a, b) for a, b in zip(found.parts, model.parts, strict=True))
    assert (found.sizes, found.fingerprints, found.left_out) == (model.sizes, model.fingerprints, model.left_out)
    change = of_customers(data, ["c004"])
    done, direct = own.forget(found, change), learner.forget(model, change)
    assert all(same(a, b) for a, b in zip(done.model.parts, direct.model.parts, strict=True))
    file = next((tmp_path / "shard_1").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match="shard_1"):
        own.load(tmp_path)
    file.unlink()
    with pytest.raises(DataError, match="shard_1"):
        own.load(tmp_path)


def test_a_generator_of_one_shard_is_faraday_of_the_days() -> None:
    data = loads(n=12)
    learner = GeneratorLearner(SMALL, seed=4)
    model = learner.fit(data)
    table = (np.rint(readings(n=12) * 2.0**20) / 2.0**20).astype(np.float32)
    n_days = len(data.split.train) // 24
    kwh = np.concatenate([table[own].to_numpy()[: n_days * 24].reshape(n_days, 24) for own in table])
    days = np.tile(pd.date_range("2021-03-01", periods=n_days).to_numpy(), 12)
    households = pd.DataFrame({"household_id": table.columns, "segment": classes(12).to_numpy()})
    profiles = household_profiles("other", kwh, np.repeat(np.arange(12), n_days), days, households)
    oracle = fit_faraday(profiles, SMALL, 4)
    assert same(model.parts[0], oracle)
    np.testing.assert_allclose(model.sample(5, seed=2).kwh, oracle.sample(5, seed=2).kwh, rtol=1e-3, atol=1e-4)
    route = learner.route(model, of_customers(data, ["c001"]))
    assert route is not None
    assert route.method == "trained anew"
    assert "shards=4" in route.why
    assert "Faraday" in route.why


def test_a_detector_of_one_shard_is_one_of_windows_of_the_readings() -> None:
    data = loads(n=12)
    learner = dataclasses.replace(DETECTOR, shards=1)
    table = (np.rint(readings(n=12) * 2.0**20) / 2.0**20).astype(np.float32).iloc[: len(data.split.train)]
    hours = table.index.to_numpy().astype("datetime64[h]")
    series = BuildingSeries("other", tuple(table), hours, table.to_numpy().T.astype(float))
    windows = cut_windows(scale(series, np.ones(len(table), dtype=bool)), 24, 24)
    (oracle,) = fit_candidates(Autoencoder(**TINY), windows, 1)
    model = learner.fit(data)
    assert same(model.parts[0], oracle)
    route = learner.route(model, of_customers(data, ["c001"]))
    assert route is not None
    assert "LSTM autoencoder" in route.why


def test_the_label_space_forgets_a_class_with_its_last_customer() -> None:
    own = hourly_meters(readings(n=9), segments=pd.Series(["rare", *["usual"] * 8], classes(9).index))
    data = customer_loads(own, dict.fromkeys(own.customer_ids, "bus_1"), split=SPLIT)
    learner = GeneratorLearner(SMALL)
    model = learner.fit(data)
    done = learner.forget(model, of_customers(data, ["c000"]))
    assert model.sample(3).segments == ("rare", "usual")
    assert done.model.sample(3).segments == ("usual",)


def test_a_detector_scores_windows_of_a_data_set(data: CustomerLoads, models: dict[str, Any]) -> None:
    windows = DETECTOR.windows(data, data.split.test)
    assert windows is not None
    scores = models["detector"].score(windows)
    assert scores.hour.shape == windows.values.shape
    expected = np.mean([part.score(windows).hour for part in models["detector"].parts], axis=0)
    np.testing.assert_allclose(scores.hour, expected)
    assert DETECTOR.windows(data, data.split.test[:20]) is None
    # Windows of test rows alone; training readings are of none.
    assert np.isin(windows.hours, data.split.test).all()


@BOTH
def test_audits_are_told_with_their_intervals(learner: Any, data: CustomerLoads, models: dict[str, Any]) -> None:
    found = learner.forget(models[learner.kind], of_customers(data, ["c004"])).numbers
    for name in ("audit_auc_before", "audit_auc_after"):
        assert 0 <= found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] <= 1
    json.dumps(dict(found), allow_nan=False)


def test_no_audit_without_examples_that_were_never_learnt() -> None:
    data = loads(n=12)
    one = dataclasses.replace(DETECTOR, shards=1, length=120)
    model = one.fit(data)
    numbers = one.forget(model, of_customers(data, ["c001"])).numbers
    assert numbers["audit_auc_before"] is not None
    few = data.without(["c001"], hours=data.split.test[5:]).without(["c001"], hours=data.split.validation)
    days = GeneratorLearner(SMALL)
    found = days.forget(days.fit(few), of_customers(few, ["c001"])).numbers
    # Others' days stand in for the customer's own.
    assert found["audit_auc_before"] is not None


def test_unusable_settings_are_refused() -> None:
    with pytest.raises(InputError, match="shards"):
        GeneratorLearner(shards=0)
    with pytest.raises(InputError, match="shards"):
        DetectorLearner(shards=0)
    with pytest.raises(InputError, match=r"saved and read again \(autoencoder, gan\), got 'iforest'.*pickles"):
        DetectorLearner("iforest")
    with pytest.raises(InputError, match=r"detector: expected one of .*got 'autoencoders'"):
        DetectorLearner("autoencoders")
    with pytest.raises(InputError, match=r"autoencoder: expected settings among .*got 'hiden'"):
        DetectorLearner(options={"hiden": 3})
    with pytest.raises(InputError, match=r"generator\.options\.vae: expected settings among .*got 'width'"):
        GeneratorLearner.from_settings({"options": {"vae": {"width": 3}}})
    with pytest.raises(InputError, match=r"generator\.options: expected settings by name, got int"):
        GeneratorLearner.from_settings({"options": 3})
    with pytest.raises(InputError, match=r"autoencoder\.hidden"):
        DetectorLearner(options={"hidden": 0})
    nested = DetectorLearner("gan", {"networks": {"generator": [4, 4]}})
    assert nested.options["networks"]["generator"] == (4, 4)
    assert DetectorLearner.from_settings(json.loads(json.dumps(dataclasses.asdict(nested)))) == nested


@BOTH
def test_unusable_data_is_refused_before_training(learner: Any) -> None:
    with pytest.raises(InputError, match=r"expected CustomerLoads.*got LoadDataset"):
        learner.fit(unlearn.load_dataset("synthetic", n_hours=200, n_loads=2))
    with pytest.raises(InputError, match=r"shard \d of 12: expected at least 2 training .*or take fewer shards"):
        dataclasses.replace(learner, shards=12).fit(loads(n=9))


def test_windows_that_fit_nowhere_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected customers with 400 training hours in a row.*Lower length"):
        dataclasses.replace(DETECTOR, length=400).fit(loads(n=9))


@BOTH
def test_another_data_set_or_other_settings_are_refused(
    learner: Any, data: CustomerLoads, models: dict[str, Any]
) -> None:
    other = loads(seed=1, lives=True)
    with pytest.raises(MismatchError, match="expected the data set that"):
        learner.forget(models[learner.kind], of_customers(other, ["c004"]))
    with pytest.raises(MismatchError, match="settings"):
        dataclasses.replace(learner, seed=2).route(models[learner.kind], of_customers(data, ["c004"]))


@BOTH
def test_a_shard_that_would_be_left_with_one_customer_is_refused_with_what_to_do(learner: Any) -> None:
    own = dataclasses.replace(learner, shards=2)
    data = customer_loads(meters(n=12), dict.fromkeys(places(12), "bus_1"), split=SPLIT)
    model = own.fit(data)
    shard = shard_of(data.customer_ids, 2, own.seed)
    names = [one for one, k in zip(data.customer_ids, shard, strict=True) if k == 1]
    with pytest.raises(InputError, match=r"shard 1 of 2: expected at least 2.*got \d+ of 1\..*Withdraw") as refused:
        own.route(model, of_customers(data, names[1:]))
    assert not any(one in str(refused.value) for one in data.customer_ids)
    mask = left_out_in(data, {})
    mask[:] = True
    with pytest.raises(InputError):
        own.fit(data, mask)
