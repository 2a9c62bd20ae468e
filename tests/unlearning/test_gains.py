"""What `reweight` says of its own gain: that it may not hold in other seasons, nor where its gradient was not taken."""

import logging
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import unlearn
from unlearn.criteria import MSE
from unlearn.data import Split
from unlearn.unlearning import gains
from unlearn.unlearning.gains import Gain, nearest_rows, season_of, unseen_seasons

N = 2400
#: Rows that are forgotten, evaluated and tested on; all others are trained on.
ROWS, VALIDATION, TEST = np.arange(0, 60, 2), np.arange(1800, 2000), np.arange(2000, N)


def bent(validation: tuple[float, float], test: tuple[float, float]) -> unlearn.LoadDataset:
    """Loads that bend with the weather, between -1 and 1, so that no line fits them everywhere."""
    random = np.random.default_rng(0)
    hours = pd.date_range("2019-01-01", periods=N, freq="h")
    weather = random.uniform(-1, 1, N)
    weather[VALIDATION], weather[TEST] = random.uniform(*validation, 200), random.uniform(*test, 400)
    load = 5 + 2 * np.abs(weather)[:, None] + random.normal(0, 0.05, (N, 2))
    tables = {"weather": pd.DataFrame(weather, index=hours, columns=["a"])}
    data = unlearn.dataset_from_frames(pd.DataFrame(load, index=hours, columns=["a", "b"]), tables)
    train = np.arange(1800)
    return replace(data, split=Split(train, VALIDATION, TEST, train[:500], train[500:]))


#: Tested where it was evaluated, and at the other end.
SAME, OTHER = bent((0.5, 1), (0.5, 1)), bent((-1, -0.5), (0.5, 1))


def doubts(result, kind):
    return [s for s in result.limitations if s.startswith("Re-weighting changes") and kind in s]


def figures(sentence):
    """Criterion before and after on evaluation rows, rows, the same where the gradient was not taken, rows."""
    number = r"(-?\d+(?:\.\d+)?(?:e-?\d+)?)"
    pattern = rf"from {number} to {number} .*? on (\d+) evaluation .* from {number} to {number} .*? on the (\d+) rem"
    return [float(value) for value in re.search(pattern, sentence).groups()]


def independently(data, result, rows=TEST):
    """The figures by NumPy: weighted least squares, brute force for the nearest rows, means of squares."""
    # The calendar once, the weather, which both loads share, once, and an intercept.
    design = np.column_stack([data.features[:, 0, :], np.ones(N)])
    train, load = data.split.train, data.load_pu
    kept = ~np.isin(train, result.unlearn_rows)
    heads = []
    for weights in (kept.astype(float), result.weights):
        root = np.sqrt(weights)[:, None]
        heads.append(np.linalg.lstsq(root * design[train], root * load[train], rcond=None)[0])
    others = train[kept]
    scaled = design[:, :-1] / design[others, :-1].std(axis=0)
    nearest = np.array([others[((scaled[others] - scaled[row]) ** 2).sum(axis=1).argmin()] for row in rows])
    errors = [((design @ head - load) ** 2).mean(axis=1) for head in heads]
    own, held_out = ([error[some].mean() for error in errors] for some in (data.split.validation, nearest))
    return [*own, len(data.split.validation), *held_out, len(np.unique(nearest))]


def test_a_gain_that_holds_is_not_doubted(caplog):
    result = unlearn.reweight(unlearn.fit_linear(SAME), SAME, ROWS, "mse", l1_budget=0.2)
    before, after, _, before_there, after_there, _ = independently(SAME, result)
    assert after < 0.9 * before
    assert 1 - after_there / before_there > 0.5 * (1 - after / before), "the oracle agrees"
    assert not caplog.records
    assert not doubts(result, "")


def test_a_rise_where_the_gradient_was_not_taken_is_warned_of_in_four_figures(caplog):
    result = unlearn.reweight(unlearn.fit_linear(OTHER), OTHER, ROWS, "mse", l1_budget=0.2)
    (sentence,) = doubts(result, "So it rises where its gradient was not taken.")
    assert [(r.name, r.levelno, r.getMessage()) for r in caplog.records] == [
        ("unlearn.unlearning.reweighting", logging.WARNING, sentence)
    ]
    assert figures(sentence) == pytest.approx(independently(OTHER, result), rel=2e-6)
    assert "mse in pu2" in sentence


def test_less_than_half_of_the_gain_is_warned_of(monkeypatch):
    """Some of the test hours are like the evaluated ones, the others lie nearer to the middle."""
    data = bent((0.5, 1), (0.2, 1))
    model = unlearn.fit_linear(data)
    result = unlearn.reweight(model, data, ROWS, "mse", l1_budget=0.6)
    before, after, _, before_there, after_there, _ = expected = independently(data, result)
    own, held_out = 1 - after / before, 1 - after_there / before_there
    assert 0 < held_out < 0.5 * own, "the oracle agrees"
    (sentence,) = doubts(result, "So less than half of the gain holds")
    assert figures(sentence) == pytest.approx(expected, rel=2e-6)
    # Where less is asked for, nothing is said.
    monkeypatch.setattr(gains, "KEPT_SHARE", 0.99 * held_out / own)
    assert not doubts(unlearn.reweight(model, data, ROWS, "mse", l1_budget=0.6), "")


def test_a_step_that_overshoots_is_warned_of():
    data = bent((0.4, 0.6), (0.4, 0.6))  # where the line is nearly right
    result = unlearn.reweight(unlearn.fit_linear(data), data, ROWS, "mse", l1_budget=0.6)
    before, after, *_ = expected = independently(data, result)
    assert after > 2 * before, "the oracle agrees"
    (sentence,) = doubts(result, "It rises on the evaluation rows themselves: the step is too long. Lower l1_budget.")
    assert figures(sentence) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("budgets", [{"l1_budget": 0.0}, {"l1_budget": 0.3, "linf_budget": 0.0}])
def test_complete_unlearning_is_not_doubted(caplog, budgets):
    model = unlearn.fit_linear(OTHER)
    asked = []

    class Asked(MSE):
        def __call__(self, forecast_pu, load_pu):
            asked.append(len(load_pu))
            return super().__call__(forecast_pu, load_pu)

    seen = np.flatnonzero(season_of(OTHER.timestamps[:1800]) == 0)
    result = unlearn.reweight(model, OTHER, ROWS, Asked(), evaluate_on=seen, **budgets)
    assert not caplog.records
    assert result.limitations == unlearn.forget(model, OTHER, ROWS).limitations + [
        s for s in result.limitations if s.startswith(f"{len(ROWS)} of the removed rows were among")
    ]
    assert sum(asked) == len(seen), "nothing but the gradient is computed"


def test_few_rows_are_looked_at(monkeypatch):
    monkeypatch.setattr(gains, "MOST_ROWS", 30)
    asked = []

    class Asked(MSE):
        def __call__(self, forecast_pu, load_pu):
            asked.append(len(load_pu))
            return super().__call__(forecast_pu, load_pu)

    result = unlearn.reweight(unlearn.fit_linear(OTHER), OTHER, ROWS, Asked(), 0.2)
    assert asked[0] == len(VALIDATION)
    assert asked[1:3] == [30, 30]
    assert max(asked[3:]) <= 30
    assert len(asked) == 5
    rows = TEST[np.linspace(0, len(TEST) - 1, 30).round().astype(int)]
    (sentence,) = doubts(result, "")
    assert figures(sentence)[3:] == pytest.approx(independently(OTHER, result, rows)[3:], rel=2e-6)


def test_networks_are_checked_in_their_own_features(cnn, dataset):
    rows = cnn.training_rows(dataset)[:50]
    result = unlearn.reweight(cnn, dataset, rows, "mse", 0.2)
    others = np.setdiff1d(cnn.training_rows(dataset), rows)
    objective = cnn.objective(dataset)
    kept = torch.ones(objective.n_samples, dtype=torch.float64)
    kept[:50] = 0
    complete = objective.fit(kept).reshape(cnn.head.shape)
    design = cnn.design_of(dataset, np.arange(1400)).numpy()[:, :-1]
    scaled = design / design[others].std(axis=0)
    test = dataset.split.test
    distance = ((scaled[test, None] - scaled[None, others]) ** 2).sum(axis=2)
    nearest, (found, counts) = others[distance.argmin(axis=1)], nearest_rows(cnn, dataset, others)
    assert np.repeat(found, counts.astype(int)).tolist() == np.sort(nearest).tolist()
    for sentence in doubts(result, ""):
        held_out = []
        for head in (complete, result.model.head):
            forecast = cnn.design_of(dataset, nearest).numpy() @ head.numpy().T
            held_out.append(((forecast - dataset.load_pu[nearest]) ** 2).mean())
        assert figures(sentence)[3:5] == pytest.approx(held_out, rel=1e-5)
        break
    else:
        pytest.fail("expected a doubt: least squares is at its best on the rows that remain")


def test_the_removed_rows_are_not_looked_at():
    """Other loads in the rows to forget change nothing but through the weights; these are not among the figures."""
    model = unlearn.fit_linear(OTHER)
    others = np.setdiff1d(OTHER.split.train, ROWS)
    assert not np.isin(nearest_rows(model, OTHER, others)[0], ROWS).any()
    features = OTHER.features.copy()
    features[ROWS] = features[TEST[: len(ROWS)]]
    moved = replace(OTHER, features=features)
    same = nearest_rows(model, moved, others)
    assert all((one == other).all() for one, other in zip(same, nearest_rows(model, OTHER, others), strict=True))


def test_without_other_rows_or_test_hours_there_is_something_to_say_all_the_same():
    model = unlearn.fit_linear(OTHER)
    kept = np.setdiff1d(OTHER.split.train, ROWS)
    said = unlearn.reweight(model, OTHER, ROWS, "mse", 0.1, evaluate_on=kept).limitations[-1]
    assert said == "All remaining rows were evaluated on, so nothing tells whether the gain in mse holds."
    none = replace(OTHER, split=replace(OTHER.split, test=OTHER.split.test[:0]))
    rows, counts = nearest_rows(unlearn.fit_linear(none), none, kept)
    assert len(rows) == gains.MOST_ROWS
    assert (counts == 1).all()
    assert unseen_seasons(none, VALIDATION) is None


def test_rows_that_cannot_be_judged_do_not_stop_the_call():
    load = OTHER.load_mw.copy()
    load[:1800, 1] = 0.0
    data = replace(OTHER, load_mw=load)
    said = unlearn.reweight(unlearn.fit_linear(data, l2=1e-9), data, ROWS, "mape", 0.1).limitations[-1]
    assert said.startswith("Whether the gain in mape holds on other rows could not be checked. MAPE: expected loads")


def hours_of_a_year(test):
    data = unlearn.load_dataset("synthetic", n_hours=8760, n_loads=2)
    return replace(data, split=replace(data.split, test=np.asarray(test)))


def test_seasons_are_the_meteorological_ones():
    days = pd.DatetimeIndex([f"2019-{month:02d}-15" for month in range(1, 13)])
    assert season_of(days).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0]
    assert season_of(pd.DatetimeIndex(["2019-02-28 23:00", "2019-03-01 00:00"])).tolist() == [0, 1]


@pytest.mark.parametrize(("n_winter", "warned"), [(0, False), (250, False), (251, True), (1000, True)])
def test_more_than_a_quarter_of_the_test_hours_in_other_seasons_is_warned_of(n_winter, warned):
    hours = pd.date_range("2019-01-01", periods=8760, freq="h")
    autumn, winter = (np.flatnonzero(season_of(hours) == season) for season in (3, 0))
    data = hours_of_a_year(np.concatenate([winter[:n_winter], autumn[-1000 + n_winter :][: 1000 - n_winter]]))
    said = unseen_seasons(data, autumn[:100])
    assert bool(said) == warned
    if said:
        assert said.startswith(f"{n_winter} of the 1000 test hours ({n_winter / 1000:.0%}) are in seasons of which no")
        assert f"December to February ({n_winter})." in said
        assert "The evaluation rows are hours of September to November (100)." in said
    assert unseen_seasons(data, np.append(autumn, winter[:1])) is None


def test_every_unseen_season_is_listed():
    hours = pd.date_range("2019-01-01", periods=8760, freq="h")
    data = hours_of_a_year(np.arange(8760))
    said = unseen_seasons(data, np.flatnonzero(hours.month == 7))
    assert "6552 of the 8760 test hours (75%)" in said
    assert "December to February (2160), March to May (2208), September to November (2184)." in said
    assert "The evaluation rows are hours of June to August (744)." in said


def test_the_season_is_a_warning_and_a_limitation_of_reweighting(caplog):
    """A calendar year, whose validation is autumn and whose test runs into winter."""
    data = unlearn.load_dataset("synthetic", n_hours=8760, n_loads=2)
    model = unlearn.fit_linear(data)
    result = unlearn.reweight(model, data, range(100), "mse", 0.05)
    sentence = next(s for s in result.limitations if "test hours" in s and "seasons" in s)
    in_winter = int((data.timestamps[data.split.test].month == 12).sum())
    assert sentence.startswith(f"{in_winter} of the {len(data.split.test)} test hours ({in_winter / 1752:.0%}) are in")
    assert sentence in [record.getMessage() for record in caplog.records]
    both = unlearn.reweight(model, data, range(100), "mse", 0.05, evaluate_on="test")
    assert not any("seasons" in s for s in both.limitations)


def test_gains_are_relative_and_rounding_is_none():
    assert Gain(4.0, 3.0).share == 0.25
    assert Gain(-4.0, -5.0).share == 0.25
    assert Gain(4.0, 5.0).share == -0.25
    assert Gain(4.0, 4.0 * (1 + 1e-13)).share == 0.0
    assert Gain(0.0, 0.0).share == 0.0
    assert Gain(0.0, 1.0).share == -np.inf
    assert str(Gain(4.0, 3.0)) == "4 to 3 (-25.0%)"
