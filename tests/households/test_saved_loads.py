"""Data sets in a folder: the same to the last bit, nothing of who is gone, damage refused."""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unlearn
from tests.households.customer_data import SPLIT, classes, loads, meters, places, weather
from tests.households.test_removal import marked, same
from tests.left_over import holds
from tests.proofs import proof_count
from tests.unlearning.lagged_hours import made_up
from unlearn.data import Lags
from unlearn.errors import DataError, InputError
from unlearn.households import customer_loads, hourly_meters, load_loads, load_meters, save_loads
from unlearn.records import CARD, read_safetensors, write_card, write_safetensors

_SLOW = settings(max_examples=proof_count(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: What may be done to a data set of customers, each by a seed.
STEPS = {
    "leaves": lambda data, random: data.without(_some(data, random)),
    "objects": lambda data, random: data.without(
        _some(data, random),
        "objects",
        [None, range(100, 180)][random.integers(2)],
        [None, "rescale", "class_mean"][random.integers(3)],
    ),
    "blanked": lambda data, random: data.blanked(
        range(low := int(random.integers(0, 200)), low + 20), _load(data, random)
    ),
    "withdrawn": lambda data, random: data.without_loads(_load(data, random)) if data.n_loads > 1 else data,
    "scaled": lambda data, random: data.scaled_to(random.uniform(10, 50, data.n_loads)),
    "lags": lambda data, random: data if data.declared_lags else data.with_lags(Lags((24,), (36,))),
    "saved": lambda data, random: through_a_folder(data),
    "purged": lambda data, random: data.purged(),
}


def _some(data, random):
    there = np.array(data.customer_ids)
    return random.choice(there, 2, replace=False).tolist()


def _load(data, random):
    return [str(random.choice(data.load_names))]


def through_a_folder(data):
    with tempfile.TemporaryDirectory() as folder:
        return load_loads(save_loads(data, Path(folder) / "d"), in_memory=True)


def tried(data, name, seed):
    """The data set after a step, or why not."""
    try:
        return STEPS[name](data, np.random.default_rng(seed)), None
    except InputError as error:
        return data, str(error)


@_SLOW
@given(
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 10_000)), max_size=5),
    then=st.tuples(
        st.sampled_from(["leaves", "objects", "blanked", "withdrawn", "scaled", "lags"]), st.integers(0, 99)
    ),
)
def test_it_comes_back_to_the_last_bit_and_goes_on_alike(steps, then):
    data = loads(lives=True)
    for name, seed in steps:
        data, _ = tried(data, name, seed)
    back = through_a_folder(data)
    same(back, data.purged())
    assert back.fingerprint == data.fingerprint
    assert back.split.spec == data.split.spec
    for part in ("train", "validation", "test", "core", "sensitive"):
        np.testing.assert_array_equal(getattr(back.split, part), getattr(data.split, part))
    assert (back.name, back.fitted, back.declared_lags) == (data.name, data.fitted, data.declared_lags)
    assert back.timestamps.equals(data.timestamps)
    assert back.meters.digests == data.purged().meters.digests
    np.testing.assert_array_equal(
        back.meters.series(np.arange(len(back.meters))), data.purged().meters.series(np.arange(len(back.meters)))
    )
    left, why = tried(data.purged(), *then)
    right, also = tried(back, *then)
    assert why == also
    same(left, right)


@_SLOW
@given(seed=st.integers(0, 99), lags=st.sampled_from([None, [24], Lags((24,), (36,))]), blank=st.booleans())
def test_loads_without_customers(seed, lags, blank):
    data = made_up(lags, seed)
    data = data.scaled_to([10.0, 20.0, 30.0]) if seed % 2 else data
    data = data.blanked(range(30, 40), ["b"]) if blank else data
    back = through_a_folder(data)
    assert back.fingerprint == data.fingerprint
    for name in ("features", "load_mw", "history_mw"):
        np.testing.assert_array_equal(getattr(back, name), getattr(data, name))
    assert back.split.spec == data.split.spec
    assert back.lags == data.lags
    assert back.with_lags([48]).fingerprint == data.with_lags([48]).fingerprint
    assert back.without_loads(["a"]).fingerprint == data.without_loads(["a"]).fingerprint


@pytest.mark.parametrize("in_memory", [True, False])
def test_readings_are_in_memory_or_stay_in_the_folder(tmp_path, in_memory):
    data = loads()
    back = load_loads(save_loads(data, tmp_path / "d"), in_memory=in_memory)
    assert (back.meters.source.path is None) == in_memory
    assert load_meters(tmp_path / "d" / "meters.parquet").customer_ids == data.meters.customer_ids
    if in_memory:
        shutil.rmtree(tmp_path / "d")
    assert back.without(["c003"]).fingerprint == data.without(["c003"]).fingerprint
    model = unlearn.fit_linear(data)
    assert unlearn.forget_customers(model, back, ["c005"]).complete
    if not in_memory:  # over itself, from the file that is replaced
        again = load_loads(save_loads(back.without(["c003"]), tmp_path / "d"))
        assert again.fingerprint == data.without(["c003"]).fingerprint
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "d").glob("*")} <= {0o600}


def test_readings_of_a_data_set_before_do_not_stay(tmp_path):
    save_loads(loads(), tmp_path)
    data = made_up(None)
    assert load_loads(save_loads(data, tmp_path)).fingerprint == data.fingerprint
    assert sorted(file.name for file in tmp_path.iterdir()) == [CARD, "loads.safetensors"]
    with pytest.raises(InputError, match="names of loads and features that are text"):
        save_loads(dataclasses.replace(data, load_names=(1, 2, 3)), tmp_path)


def test_hashes_of_meters_that_were_cut_come_back():
    cut = meters().between("2021-03-03", "2021-03-18")
    data = customer_loads(cut, places(), split=SPLIT).without(["c001"], hours=range(20))
    assert through_a_folder(data).fingerprint == data.fingerprint


def test_nothing_of_who_is_gone_is_in_the_files(tmp_path):
    who, hours = [3, 4, 5], np.arange(100, 140)
    table, values = marked(hours, who)
    own = hourly_meters(table, segments=classes())
    data = customer_loads(own, places(), weather(own.hours), split=SPLIT)
    data = data.without(["c003"]).without(["c004"], hours=hours).blanked(hours, ["bus_3"])
    save_loads(data, tmp_path / "d")
    for file in (tmp_path / "d").iterdir():
        assert b"c003" not in file.read_bytes()
    tensors = {name: own.numpy() for name, own in read_safetensors(tmp_path / "d" / "loads.safetensors").items()}
    assert not holds(tensors, values)
    meters_left = load_meters(tmp_path / "d" / "meters.parquet")
    assert not np.isin(meters_left.series(np.arange(len(meters_left))), values).any()
    written = b"".join(file.read_bytes() for file in (tmp_path / "d").iterdir())
    for i in who:  # a hash of readings tells whoever guesses them
        assert bytes.fromhex(own.digests[i]) not in written
        assert own.digests[i].encode() not in written


def test_damage_is_refused(tmp_path):
    data = loads()
    for file in ("loads.safetensors", "meters.parquet", CARD):
        folder = save_loads(data, tmp_path / file)
        content = bytearray((folder / file).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / file).write_bytes(bytes(content))
        with pytest.raises(DataError, match=file):
            load_loads(folder)
        (folder / file).unlink()
        with pytest.raises(DataError, match="no such file"):
            load_loads(folder)


def test_files_that_do_not_fit_each_other_are_refused(tmp_path):
    folder = save_loads(loads(), tmp_path / "d")
    names = ["loads.safetensors", "meters.parquet"]
    card = json.loads((folder / CARD).read_text())
    card = {name: own for name, own in card.items() if name not in ("files", "seal")}

    def changed(**more):
        write_card({**card, **more}, folder, names)

    for more, said in (
        ({"format": 2}, "expected a data set of format 1, got 2"),
        ({"name": "other", "fitted": []}, "expected the data set that its card names"),
        ({"load_names": ["x"]}, "does not fit|load_mw"),
        ({"n_customers": 59}, "expected 59 customers, got 60"),
        ({"shares": {"none": 1}}, "does not fit"),
        ({"unit": "parsec"}, "does not fit"),
    ):
        changed(**more)
        with pytest.raises(DataError, match=said):
            load_loads(folder)
    changed()
    assert load_loads(folder).fingerprint == loads().fingerprint
    tensors = read_safetensors(folder / "loads.safetensors")
    tensors["roster.sums_kwh"][7, 1, 0] += 1.0
    write_safetensors(tensors, folder / "loads.safetensors")
    changed()
    with pytest.raises(DataError, match="expected loads that are the sums of their meters"):
        load_loads(folder)
    del tensors["roster.states"]
    write_safetensors(tensors, folder / "loads.safetensors")
    changed()
    with pytest.raises(DataError, match="does not fit"):
        load_loads(folder)
