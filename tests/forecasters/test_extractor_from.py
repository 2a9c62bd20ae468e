"""A network whose extractor was fitted on another data set: forgetting in its head is forgetting in all of it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

import unlearn
from unlearn.data import LoadDataset, StandardScaler, make_synthetic
from unlearn.data.splits import SplitSpec
from unlearn.errors import InputError, MismatchError
from unlearn.forecasters import Forecaster, TrainingOptions, train_network
from unlearn.forecasters.base import HEAD, UNUSED
from unlearn.forecasters.extractors import N_FEATURES, CnnExtractor
from unlearn.forecasters.specs import Cnn
from unlearn.unlearning.steps import relative_distance

QUICK = TrainingOptions(epochs=2, learning_rate=1e-3)
ARCHITECTURES = ("cnn", "mixer")


@dataclass(frozen=True, eq=False)
class WithCustomers(LoadDataset):
    """A data set that says whose loads it holds."""

    customer_ids: tuple[str, ...] = ()


def with_customers(dataset: LoadDataset, *customers: str) -> WithCustomers:
    return WithCustomers(
        **{name: getattr(dataset, name) for name in LoadDataset.__dataclass_fields__}, customer_ids=customers
    )


@pytest.fixture(scope="module")
def small() -> LoadDataset:
    return make_synthetic(4, 1400)


@pytest.fixture(scope="module")
def other() -> LoadDataset:
    """Of others, in other hours, of another size."""
    return replace(make_synthetic(4, 900, random_state=7, start="2018-03-01"), name="others")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, small, other) -> Forecaster:
    return unlearn.fit_network(small, request.param, QUICK, seed=1, extractor_from=other)


@pytest.fixture(scope="module")
def theirs(other) -> Forecaster:
    """An ordinary network of the other data set."""
    return unlearn.fit_network(other, "cnn", QUICK, seed=3)


def frozen(model: Forecaster) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if name.startswith(("extractor.", "scaler."))}


def assert_same_bits(one: Forecaster, two: Forecaster) -> None:
    mine, others = frozen(one), frozen(two)
    assert mine.keys() == others.keys()
    assert len(mine) > 2
    for name, value in mine.items():
        assert torch.equal(value, others[name]), name


def test_the_extractor_is_the_one_of_the_other_data_set_alone(small, other, one_thread):
    """Written out: scalers of its training rows, core and sensitive, and plain training on them."""
    rows = other.split.train
    scaler = StandardScaler.fit(other.features[rows], skip=4)
    targets = StandardScaler.fit(other.load_pu[rows])(torch.from_numpy(other.load_pu[rows])).float()
    torch.manual_seed(1)
    network = nn.Sequential(CnnExtractor(4, 10), nn.Linear(N_FEATURES, 4))
    inputs = scaler(torch.from_numpy(other.features[rows])).float()
    history = train_network(network, inputs, targets, QUICK, 1)
    found = unlearn.fit_network(small, "cnn", QUICK, seed=1, extractor_from=other)
    assert torch.equal(found.scaler.mean, scaler.mean)
    assert torch.equal(found.scaler.std, scaler.std)
    for name, value in network[0].double().state_dict().items():
        assert torch.equal(found.extractor.state_dict()[name], value), name
    assert found.card.history == history


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_this_data_set_does_not_change_a_bit_of_it(small, other, architecture, one_thread):
    one = unlearn.fit_network(small, architecture, QUICK, seed=1, extractor_from=other)
    moved = replace(small, load_mw=small.load_mw[::-1] * 1.5, features=small.features * 1.01)
    two = unlearn.fit_network(moved, architecture, QUICK, seed=1, extractor_from=other)
    assert_same_bits(one, two)
    assert not torch.equal(one.head, two.head)


@pytest.mark.parametrize("part", ["core", "sensitive"])
def test_each_training_row_of_the_other_data_set_does_and_no_other_row(small, other, part, one_thread):
    def changed(rows):
        load = other.load_mw.copy()
        load[rows] *= np.linspace(1, 2, len(rows))[:, None]
        return unlearn.fit_network(small, "cnn", QUICK, seed=1, extractor_from=replace(other, load_mw=load))

    before = unlearn.fit_network(small, "cnn", QUICK, seed=1, extractor_from=other)
    assert_same_bits(before, changed(np.concatenate([other.split.validation, other.split.test])))
    name = "extractor.linear.weight"
    assert not torch.equal(frozen(before)[name], frozen(changed(getattr(other.split, part)))[name])


def test_the_head_is_fitted_on_all_training_rows(model, small):
    rows = small.split.train
    assert np.array_equal(model.training_rows(small), rows)
    parts = model.parts.numpy()
    assert (parts[rows] == HEAD).all()
    assert (np.delete(parts, rows) == UNUSED).all()
    design = model.design_of(small, rows).numpy()
    expected = np.linalg.lstsq(design, small.load_pu[rows], rcond=None)[0]
    np.testing.assert_allclose(design @ model.head.numpy().T, design @ expected, atol=1e-10)


def test_forgetting_rows_is_complete_whatever_part_they_were_of(model, small):
    rows = np.sort(np.concatenate([small.split.core[:60], small.split.sensitive[:90]]))
    done = unlearn.forget(model, small, rows, compare_retrained=True)
    assert done.complete
    assert done.complete_as_given
    assert not len(done.not_forgotten)
    assert len(done.unlearn_rows) == 150
    assert done.distance_to_retrained <= 1e-9
    # The head of what remains, refitted without the library's steps.
    kept = np.setdiff1d(small.split.train, rows)
    design = model.design_of(small, kept).numpy()
    expected = np.linalg.lstsq(design, small.load_pu[kept], rcond=None)[0].T
    assert relative_distance(done.model.theta, torch.from_numpy(expected).reshape(-1)) <= 1e-9
    (told,) = (said for said in done.limitations if said.startswith("extractor"))
    assert "saw no row of this data set" in told
    assert "another data set (others, " in told
    assert not any("not complete" in said for said in done.limitations)


def test_the_rows_alone_are_enough_to_forget_them(model, small):
    rows = small.split.core[:40]
    given = unlearn.forget_rows(model, rows, small.features[rows], small.load_pu[rows])
    assert given.complete_as_given
    assert not len(given.not_forgotten)
    assert relative_distance(given.model.theta, unlearn.forget(model, small, rows).model.theta) <= 1e-8


def test_an_ordinary_network_keeps_what_its_core_taught_it(small):
    """The contrast: the same rows are listed as not forgotten."""
    ordinary = unlearn.fit_network(small, "cnn", QUICK)
    rows = np.concatenate([small.split.core[:60], small.split.sensitive[:90]])
    done = unlearn.forget(ordinary, small, rows)
    assert not done.complete
    assert len(done.not_forgotten) == 60


def test_the_card_says_where_the_extractor_comes_from(model, small, other):
    card = model.card
    assert card.head_rows == "train"
    assert (card.data, card.fingerprint) == (small.name, small.fingerprint)
    assert card.fitted[len(small.fitted) :] == [
        {
            "name": "extractor and feature scaler",
            "fitted_on": f"another data set (others, {other.fingerprint[:12]})",
            "description": "frozen; saw no row of this data set",
        }
    ]
    origin = {"data": "others", "fingerprint": other.fingerprint, "customers": None}
    assert card.settings["extractor_from"] == origin
    assert card.settings["training"]["epochs"] == 2


def test_it_comes_back_from_a_file_and_forgets_the_same(model, small, tmp_path):
    back = unlearn.load_forecaster(unlearn.save_forecaster(model, tmp_path / "model"))
    assert type(back) is type(model)
    assert back.card == model.card
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    rows = small.split.core[:50]
    again, first = (unlearn.forget(own, small, rows) for own in (back, model))
    assert again.complete
    assert torch.equal(again.model.theta, first.model.theta)


def test_a_forecaster_gives_its_extractor_as_it_is(small, theirs, tmp_path):
    before = {name: value.clone() for name, value in frozen(theirs).items()}
    saved = unlearn.load_forecaster(unlearn.save_forecaster(theirs, tmp_path / "theirs"))
    for source in (theirs, saved):
        model = unlearn.fit_network(small, "cnn", extractor_from=source)
        assert_same_bits(model, theirs)
        assert model.extractor is not source.extractor
        assert model.card.seed == 3
        assert model.card.settings["training"] == theirs.card.settings["training"]
        assert model.card.history == theirs.card.history
        assert model.card.settings["extractor_from"] == {
            "data": "others", "fingerprint": theirs.card.fingerprint, "customers": None
        }  # fmt: skip
        assert unlearn.forget(model, small, small.split.core[:50]).complete
    model.extractor.float()
    assert all(torch.equal(value, before[name]) for name, value in frozen(theirs).items())


def test_one_that_was_trained_as_a_whole_gives_its_extractor_too(small, other):
    """Its layers below the last saw its own data set alone; the last is not taken."""
    whole = unlearn.fit_network(other, "cnn", QUICK, loss="mse")
    model = unlearn.fit_network(small, "cnn", extractor_from=whole)
    assert_same_bits(model, whole)
    assert unlearn.forget(model, small, small.split.core[:50]).complete


def test_an_extractor_that_was_handed_on_is_of_where_it_was_fitted(small, other, theirs):
    third = replace(make_synthetic(4, 700, random_state=9), name="third")
    handed_on = unlearn.fit_network(third, "cnn", extractor_from=theirs)
    assert handed_on.card.settings["extractor_from"]["data"] == "others"
    # It has seen nothing of the third data set, only its head has; and all of the other one.
    again = unlearn.fit_network(small, "cnn", extractor_from=handed_on)
    assert again.card.settings["extractor_from"] == handed_on.card.settings["extractor_from"]
    unlearn.fit_network(third, "cnn", extractor_from=again)
    with pytest.raises(InputError, match="expected another data set than others"):
        unlearn.fit_network(other, "cnn", extractor_from=again)


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr("unlearn.forecasters.network.train_network", lambda *_, **__: pytest.fail("trained"))


@pytest.mark.usefixtures("untrained")
def test_what_has_seen_this_data_set_is_refused_before_training(small, other, theirs):
    with pytest.raises(InputError, match=r"another data set than synthetic.*got the same .*Choose data of others"):
        unlearn.fit_network(small, "cnn", QUICK, extractor_from=small)
    with pytest.raises(InputError, match=r"expected another data set than others.*got the same"):
        unlearn.fit_network(other, "cnn", extractor_from=theirs)
    scaled = replace(small.scaled_to(np.arange(1.0, 5)), name="scaled")
    redivided = replace(small, split=SplitSpec(train=0.5, core=0.5).rows(1400), name="redivided")
    moved = replace(small, load_mw=np.roll(small.load_mw, 1, axis=1) * [1, 2, 3, 4], name="reordered")
    for same in (scaled, redivided, moved):
        assert same.fingerprint != small.fingerprint
        message = rf"got {same.name}, whose load \w+ is load \w+ in all \d+ hours that both have"
        with pytest.raises(InputError, match=message):
            unlearn.fit_network(small, "cnn", QUICK, extractor_from=same)


def test_other_loads_in_the_same_hours_are_no_reason_to_refuse(small):
    """Same calendar, same hours, one load that never varies in both: other customers all the same."""
    flat = small.load_mw.copy()
    flat[:, 0] = 5.0
    others = make_synthetic(4, 1400, random_state=1)
    constant = others.load_mw.copy()
    constant[:, 2] = 3.0
    model = unlearn.fit_network(replace(small, load_mw=flat), "cnn", QUICK, extractor_from=others)
    assert model.card.head_rows == "train"
    unlearn.fit_network(replace(small, load_mw=flat), "cnn", QUICK, extractor_from=replace(others, load_mw=constant))


@pytest.mark.usefixtures("untrained")
def test_customers_of_both_are_refused_and_named(small, other):
    mine, shared = with_customers(small, *"abcdef"), with_customers(other, *"fedcx")
    with pytest.raises(InputError, match=r"got 4 that are in both \(c, d, e, \.\.\.\).*Choose other customers, or a"):
        unlearn.fit_network(mine, "cnn", QUICK, extractor_from=shared)
    with pytest.raises(InputError, match=r"got 1 that are in both \(x\)"):
        unlearn.fit_network(with_customers(small, "x"), "cnn", QUICK, extractor_from=shared)


def test_of_other_customers_the_card_keeps_the_number_alone(small, other):
    mine, theirs = with_customers(small, "ann", "bob"), with_customers(other, "eve", "joe", "sue")
    model = unlearn.fit_network(mine, "cnn", QUICK, extractor_from=theirs)
    assert model.card.settings["extractor_from"]["customers"] == 3
    assert not any(name in str(model.card) for name in ("eve", "joe", "sue"))
    # One side that does not say whose loads it has, such as a release, is no reason to refuse.
    unlearn.fit_network(mine, "cnn", QUICK, extractor_from=other)
    unlearn.fit_network(small, "cnn", QUICK, extractor_from=theirs)


def test_a_forecaster_does_not_know_whose_data_it_saw_and_that_is_said(small, theirs):
    model = unlearn.fit_network(with_customers(small, "ann"), "cnn", extractor_from=theirs)
    assert "does not know whose data it saw" in model.card.fitted[-1]["description"]


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("source", "arguments", "error", "message"),
    [
        ("fewer", {}, MismatchError, r"expected 4 loads with features .*, as synthetic has, got 3 loads"),
        ("reordered", {}, MismatchError, r"the same features, in the same order"),
        ("other", {"loss": "mse"}, InputError, r"expected neither loss nor rows .*got a loss"),
        ("other", {"rows": range(5)}, InputError, r"expected neither loss nor rows .*got rows"),
        ("other", {"architecture": "rnn"}, InputError, r"architecture: expected one of cnn, mixer"),
        ("linear", {}, InputError, r"expected a LoadDataset, or a forecaster with an extractor, got LinearForecaster"),
        ("name", {}, InputError, r"expected a LoadDataset, or a forecaster with an extractor, got str"),
        ("theirs", {"architecture": "mixer"}, InputError, r"architecture: expected 'cnn', that of the forecaster"),
        ("theirs", {"training": QUICK}, InputError, r"training: expected none with a forecaster in extractor_from"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(small, other, theirs, source, arguments, error, message):
    sources = {
        "fewer": lambda: make_synthetic(3, 900, random_state=7),
        "reordered": lambda: replace(
            other,
            features=other.features[:, :, [0, 1, 2, 3, 5, 4, 6, 7, 8, 9]],
            feature_names=tuple(np.array(other.feature_names)[[0, 1, 2, 3, 5, 4, 6, 7, 8, 9]].tolist()),
        ),
        "other": lambda: other,
        "linear": lambda: unlearn.fit_linear(other),
        "name": lambda: "synthetic",
        "theirs": lambda: theirs,
    }
    with pytest.raises(error, match=message):
        unlearn.fit_network(small, **{"architecture": "cnn", **arguments}, extractor_from=sources[source]())


def test_an_ordinary_network_is_as_it_was(small):
    model = Cnn(training=QUICK).fit(small)
    assert "extractor_from" not in model.card.settings
    assert model.card.head_rows == "sensitive"
    assert model.card.fitted[-1]["fitted_on"].startswith("core")
