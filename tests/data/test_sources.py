import numpy as np
import pytest

import unlearn.data
from tests.data import builders
from unlearn.data import PUBLISHED, load_dataset
from unlearn.errors import InputError


def test_unknown_source():
    with pytest.raises(
        InputError, match="expected one of bigdeal2022, gefcom2012, synthetic, tables, tx123bt; got 'gefcom'"
    ):
        load_dataset("gefcom")


def test_unknown_option():
    with pytest.raises(InputError, match=r"synthetic: expected options among n_hours, n_loads, .*; got years"):
        load_dataset("synthetic", years=2)


def test_missing_option():
    with pytest.raises(InputError, match="tables: expected the options load_csv, weather, got none"):
        load_dataset("tables")


def test_options_reach_the_reader():
    dataset = load_dataset("synthetic", n_loads=2, n_hours=100, split=PUBLISHED)
    assert dataset.load_mw.shape == (100, 2)
    assert len(dataset.split.validation) == 0


def test_a_grid_sets_the_number_of_synthetic_loads_and_their_peaks():
    dataset = load_dataset("synthetic", nominal_mw=[5.0, 7.0, 9.0], n_hours=200)
    np.testing.assert_allclose(dataset.load_mw[dataset.split.train].max(0), [5, 7, 9], rtol=1e-12)
    assert dataset.fitted[-1].fitted_on == "train"


def test_published_scale_is_taken_over_all_rows(tmp_path):
    builders.write_gefcom_folder(builders.gefcom_tables()[0], tmp_path)
    dataset = load_dataset(
        "gefcom2012", nominal_mw=np.array([20.0, 30.0]), scale_over="all", path=tmp_path, zones=(1, 2)
    )
    np.testing.assert_allclose(dataset.load_mw.max(0), [20, 30], rtol=1e-12)
    assert [constant.fitted_on for constant in dataset.fitted] == ["train", "all"]


def test_too_few_zones_for_the_grid(tmp_path):
    builders.write_gefcom_folder(builders.gefcom_tables()[0], tmp_path)
    with pytest.raises(
        InputError, match=r"one nominal load for each of the 2 loads of gefcom2012-2007 \(zone_1, zone_2\), got 3"
    ):
        load_dataset("gefcom2012", nominal_mw=[1.0, 2.0, 3.0], path=tmp_path, zones=(1, 2))


def test_given_buses_are_not_overruled_by_a_grid(tmp_path):
    load, climate = builders.tx_arrays(n_days=2, n_buses=4)
    path = builders.write_zip(builders.tx_files(load, climate, plain=True), tmp_path / "tx.zip")
    dataset = load_dataset("tx123bt", nominal_mw=[1.0, 2.0], path=path, buses=[3, 4])
    assert dataset.load_names == ("bus_3", "bus_4")


def test_everything_curated_is_there():
    assert len(set(unlearn.data.__all__)) == len(unlearn.data.__all__)
    assert all(hasattr(unlearn.data, name) for name in unlearn.data.__all__)
