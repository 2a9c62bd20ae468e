"""Faraday from households to profiles and back from disk."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.generators.builders import households
from unlearn.errors import DataError, InputError
from unlearn.generators.faraday import (
    Faraday,
    FaradayOptions,
    LabelSpace,
    MixtureOptions,
    VaeOptions,
    fit_faraday,
    load_faraday,
    save_faraday,
)
from unlearn.generators.faraday.model import CARD, WEIGHTS
from unlearn.households import HouseholdProfiles
from unlearn.records import read_json, write_card

SMALL = FaradayOptions(
    VaeOptions(latent=4, hidden=48, epochs=25, batch_size=64, learning_rate=5e-3), MixtureOptions(n_components=6)
)


@pytest.fixture(scope="module")
def train() -> HouseholdProfiles:
    return households()


@pytest.fixture(scope="module")
def faraday(train: HouseholdProfiles) -> Faraday:
    return fit_faraday(train, SMALL, seed=0)


@pytest.mark.parametrize("n", [1, 7, 8193])
def test_exactly_n_profiles_come_with_labels_and_without_negatives(faraday: Faraday, n: int) -> None:
    release = faraday.sample(n, seed=4)
    assert release.kwh.shape == (n, 48)
    assert (release.kwh >= 0).all()
    assert release.segments == ("late", "early")
    assert release.fingerprint == faraday.sample(n, seed=4).fingerprint
    assert release.fingerprint != faraday.sample(n, seed=5).fingerprint


def test_profiles_look_like_those_of_their_segment(faraday: Faraday, train: HouseholdProfiles) -> None:
    release = faraday.sample(4000, seed=0)
    for segment in (0, 1):
        real, made = (p.kwh[p.segment == segment].mean(axis=0) for p in (train, release))
        assert np.corrcoef(real, made)[0, 1] > 0.97
        assert made.mean() == pytest.approx(real.mean(), rel=0.15)
    # Labels as often as in training, within 5 standard errors of both samples (p < 1e-6).
    share = (train.segment == 0).mean()
    assert abs((release.segment == 0).mean() - share) < 5 * np.sqrt(0.25 / 4000) + 0.02
    # Households differ in size, and days too: the spread of daily means is there.
    assert stats.ks_2samp(train.kwh.mean(axis=1), release.kwh.mean(axis=1)).statistic < 0.12


def test_labels_that_are_asked_for_are_kept_and_matter(faraday: Faraday) -> None:
    late = faraday.sample_given(month=1, day_of_week=np.arange(600) % 7, segment="late", seed=1)
    early = faraday.sample_given(1, np.arange(600) % 7, ["early"] * 600, seed=1)
    assert len(late) == 600
    assert (late.month == 1).all()
    assert (late.day_of_week == np.arange(600) % 7).all()
    assert (late.segment == 0).all()
    assert (early.segment == 1).all()
    assert late.kwh[:, 38].mean() > 3 * early.kwh[:, 38].mean()
    assert early.kwh[:, 15].mean() > 3 * late.kwh[:, 15].mean()


def test_a_saved_generator_gives_the_same_profiles(faraday: Faraday, tmp_path: Path) -> None:
    save_faraday(faraday, tmp_path / "model")
    again = load_faraday(tmp_path / "model")
    assert again.sample(100, 3).fingerprint == faraday.sample(100, 3).fingerprint
    card = json.loads((tmp_path / "model" / CARD).read_text())
    assert card["n_households"] == 24
    assert card["options"]["mixture"]["n_components"] == 6
    assert card["mixture"]["converged"] in (True, False)


def test_the_same_seed_fits_the_same_generator(train: HouseholdProfiles) -> None:
    quick = FaradayOptions(VaeOptions(latent=2, hidden=8, epochs=2), MixtureOptions(n_components=3))
    assert fit_faraday(train, quick, 1).sample(50).fingerprint == fit_faraday(train, quick, 1).sample(50).fingerprint


def test_profiles_without_households_can_be_learnt_too(train: HouseholdProfiles) -> None:
    quick = FaradayOptions(VaeOptions(latent=2, hidden=8, epochs=2), MixtureOptions(n_components=3))
    faraday = fit_faraday(train.unlabelled().to_hourly(), quick)
    assert faraday.sample(10).n_steps == 24
    assert faraday.card["n_households"] is None


def test_too_little_is_refused(train: HouseholdProfiles) -> None:
    with pytest.raises(InputError, match=r"mixture components \(100\), got 60"):
        fit_faraday(train.of_households([0]))
    with pytest.raises(InputError, match=r"at least 2 households.*vae\.validation.*got 1"):
        fit_faraday(train.of_households([0]), SMALL)
    flat = replace(train.unlabelled(), kwh=np.ones_like(train.kwh))
    with pytest.raises(InputError, match="expected profiles that vary"):
        fit_faraday(flat, SMALL)


@pytest.mark.parametrize("share", [0.05, 0.95])
@pytest.mark.parametrize("known", [True, False])
def test_no_share_leaves_a_side_of_early_stopping_empty(train: HouseholdProfiles, share: float, known: bool) -> None:
    few = train.of_households([0, 1]).take(np.arange(0, 120, 20))
    options = FaradayOptions(VaeOptions(latent=2, hidden=8, epochs=1, validation=share), MixtureOptions(n_components=2))
    faraday = fit_faraday(few if known else few.unlabelled(), options)
    assert np.isfinite([faraday.card["training"][side] for side in ("train", "validation")]).all()


def test_households_without_a_day_are_not_watched(train: HouseholdProfiles) -> None:
    present = train.take(train.household < 2)
    assert present.n_households == 24
    options = FaradayOptions(VaeOptions(latent=2, hidden=8, epochs=1), MixtureOptions(n_components=2))
    for seed in range(3):
        assert fit_faraday(present, options, seed).card["training"]["best_epoch"] == 0


@pytest.mark.parametrize("name", ["n_components", "max_iter", "cluster_iter"])
def test_counts_of_the_mixture_are_whole_numbers(name: str) -> None:
    with pytest.raises(InputError, match=rf"mixture\.{name}: expected a whole number"):
        MixtureOptions(**{name: 2.5})


@pytest.mark.parametrize("n", [0, -3, 2.5])
def test_a_number_of_profiles_that_is_none_is_refused(faraday: Faraday, n: float) -> None:
    with pytest.raises(InputError, match="n: expected"):
        faraday.sample(n)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((13, 0, "late"), "month: expected whole numbers from 1 to 12"),
        ((1, 7, "late"), "day_of_week: expected whole numbers from 0 to 6"),
        ((1, 0, "rich"), "expected among late, early; got rich"),
        ((1, 0, 2), "segment: expected whole numbers from 0 to 1"),
        (([1, 2], [0, 1, 2], 0), "one length"),
        ((1.5, 0, 0), "month"),
        ((1, 0, [None]), "segment: expected among late, early; got None"),
    ],
)
def test_labels_that_are_not_known_are_refused(faraday: Faraday, labels: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        faraday.sample_given(*labels)


def test_profiles_with_other_segments_are_refused(train: HouseholdProfiles) -> None:
    with pytest.raises(InputError, match="as fitted"):
        LabelSpace(("a", "b")).matrix(train)


def test_other_data_in_the_folder_are_left_alone(faraday: Faraday, tmp_path: Path) -> None:
    folder = save_faraday(faraday, tmp_path / "model")
    save_faraday(faraday, folder)  # an earlier one is replaced
    assert sorted(file.name for file in folder.iterdir()) == [CARD, WEIGHTS]
    (folder / "notes.txt").write_text("mine")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(InputError, match=r"expected no folder, an empty one or one with an earlier Faraday"):
        save_faraday(faraday, folder)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    (folder / "notes.txt").unlink()
    write_card({"kind": "linear"}, folder, [WEIGHTS])
    with pytest.raises(InputError, match=r"got card\.json, generator\.safetensors"):
        save_faraday(faraday, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_broken_files_are_named(faraday: Faraday, tmp_path: Path) -> None:
    folder = save_faraday(faraday, tmp_path / "model")
    card = read_json(folder / CARD)
    write_card({}, folder, [WEIGHTS])
    with pytest.raises(InputError, match="not a Faraday card"):
        load_faraday(folder)
    options = {**card["options"], "vae": {**card["options"]["vae"], "latent": 5}}
    write_card({**card, "options": options}, folder, [WEIGHTS])
    with pytest.raises(InputError, match="does not fit its card"):
        load_faraday(folder)
    write_card(card, folder, [WEIGHTS])
    (folder / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(DataError, match=rf"{WEIGHTS}: expected the content .* Fit and save the generator again"):
        load_faraday(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match="no such file"):
        load_faraday(folder)
