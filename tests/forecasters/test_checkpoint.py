"""Models on disk: bit for bit, and clear words about what is broken."""

import pytest
import torch
from safetensors.torch import load_file

import unlearn
from unlearn.errors import DataError, InputError
from unlearn.forecasters import destroy_forecaster, forecaster_files
from unlearn.forecasters.checkpoint import CARD, WEIGHTS
from unlearn.records import read_json, write_card, write_safetensors


def test_a_model_comes_back_bit_for_bit(model, dataset, tmp_path):
    folder = unlearn.save_forecaster(model, tmp_path / "model")
    back = unlearn.load_forecaster(folder)
    assert type(back) is type(model)
    assert back.card == model.card
    assert back.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    assert (back.forecast(dataset.features[:20]) == model.forecast(dataset.features[:20])).all()
    # It can go on: the data set is recognised and forgetting gives the same result.
    again, first = (unlearn.forget(m, dataset, range(50)).model.theta for m in (back, model))
    assert torch.equal(again, first)


@pytest.fixture
def saved(linear, tmp_path):
    return unlearn.save_forecaster(linear, tmp_path)


def test_missing_files_are_named(saved):
    (saved / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        unlearn.load_forecaster(saved)
    with pytest.raises(InputError, match=r"nowhere/card\.json: no such file"):
        unlearn.load_forecaster(saved / "nowhere")


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\xff" * 64], ids=["empty", "text", "bytes"])
def test_broken_weights_are_named(saved, content):
    (saved / WEIGHTS).write_bytes(content)
    with pytest.raises(DataError, match=r"model\.safetensors: expected the content .* Fit and save the model again\.$"):
        unlearn.load_forecaster(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "transformer"},
        {"settings": {}},
        {"kind": 3},
        {"load_names": None},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_card_of_something_else_is_refused(saved, change):
    write_card({**read_json(saved / CARD), **change}, saved, [WEIGHTS])
    with pytest.raises(InputError, match=r"card\.json: not a model card of this version"):
        unlearn.load_forecaster(saved)


def test_a_card_with_a_missing_field_is_refused(saved):
    card = read_json(saved / CARD)
    del card["kind"]
    write_card(card, saved, [WEIGHTS])
    with pytest.raises(InputError, match=r"card\.json: not a model card of this version .*kind"):
        unlearn.load_forecaster(saved)


def rewrite(folder, weights):
    write_safetensors(weights, folder / WEIGHTS)
    write_card(read_json(folder / CARD), folder, [WEIGHTS])


def test_a_model_of_an_earlier_version_is_told_so(saved):
    (saved / CARD).write_text('{"kind": "linear"}')
    with pytest.raises(
        DataError, match=r"card\.json: expected a file with one checksum .*or an earlier version wrote it"
    ):
        unlearn.load_forecaster(saved)


def test_models_hold_sums_over_customers_so_others_may_not_read_them(linear, tmp_path):
    folder = unlearn.save_forecaster(linear, tmp_path / "models" / "linear")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["head", "scaler.mean", "scaler.std"])
def test_weights_that_do_not_fit_their_card_are_refused(saved, name):
    weights = load_file(saved / WEIGHTS)
    weights[name] = weights[name][:-1]
    rewrite(saved, weights)
    with pytest.raises(InputError, match=r"model\.safetensors: does not fit its card"):
        unlearn.load_forecaster(saved)
    del weights[name]
    rewrite(saved, weights)
    with pytest.raises(InputError, match=r"model\.safetensors: does not fit its card"):
        unlearn.load_forecaster(saved)


def test_the_card_says_how_the_rows_were_divided(linear):
    split = linear.card.split
    assert split["rows"] == {"train": 980, "validation": 140, "test": 280, "core": 294, "sensitive": 686}
    assert split["shares"] == {"train": 0.7, "validation": 0.1, "core": 0.3, "core_choice": "random", "random_state": 0}


def test_a_saved_model_is_destroyed_with_its_folder(linear, tmp_path):
    folder = unlearn.save_forecaster(linear, tmp_path / "model")
    destroy_forecaster(folder, forecaster_files(folder))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="got nothing"):
        forecaster_files(folder)


@pytest.mark.parametrize("why", ["file", "folder", "link", "linked file", "card", "weights", "no card", "other card"])
def test_nothing_but_the_model_that_is_meant_is_destroyed(linear, tmp_path, why):
    folder = unlearn.save_forecaster(linear, tmp_path / "model")
    known = forecaster_files(folder)
    target = {"card": folder / CARD, "weights": folder / WEIGHTS}.get(why)
    if why == "file":
        (folder / "notes.txt").write_text("mine")
    elif why == "folder":
        (folder / "more").mkdir()
    elif why == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    elif why == "linked file":
        (folder / WEIGHTS).rename(tmp_path / "weights")
        (folder / WEIGHTS).symlink_to(tmp_path / "weights")
    elif why == "no card":
        (folder / CARD).unlink()
    elif why == "other card":
        write_card({"kind": "faraday"}, folder, [WEIGHTS])
    elif target:
        target.write_bytes(target.read_bytes() + b" ")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((InputError, DataError), match=r"expected|not a model card|no such file"):
        destroy_forecaster(folder, known)
    assert sorted(tmp_path.rglob("*")) == before
