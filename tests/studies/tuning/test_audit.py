"""The audit on a small data set: tunings pass, TAMU is caught, and so is a tuning that leaks in its last bits alone."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

import unlearn
from unlearn.data import LoadDataset
from unlearn.errors import InputError
from unlearn.forecasters import Forecaster
from unlearn.grid import OperatingCost
from unlearn.studies._shared.study import Study
from unlearn.studies.tuning.audit import ALL_ATTACKS, audit_records
from unlearn.studies.tuning.audit_bits import Released, bits_differ
from unlearn.studies.tuning.audit_options import TuningAuditOptions
from unlearn.studies.tuning.audit_pairs import Release, ShadowPairs, releases_of, tuned
from unlearn.unlearning.tuning import Solved, TuningProblem

#: Tunings whose records are looked at; bits of all of them are compared below.
TUNINGS = ("scale", "weights", "head")

OPTIONS = TuningAuditOptions(
    pairs=16, pair_share=0.5, attacked_rows=10, cells=1, weights_steps=3, steps=3, folds=2, trust=100.0
)


@pytest.fixture(scope="module")
def small() -> LoadDataset:
    """500 hours of 3 loads: 350 train, of which 88 are removed and 131 in each training set."""
    grid = unlearn.load_case("ieee9")
    return unlearn.load_dataset("synthetic", n_hours=500, n_loads=3, nominal_mw=grid.nominal_load_mw)


@pytest.fixture(scope="module")
def study(small: LoadDataset) -> Study:
    return Study(unlearn.fit_linear(small), small, OperatingCost("ieee9"), selection="helpful")


def chosen(*methods: str) -> list[Release]:
    """Releases by these methods, none of them with folds."""
    return [own for own in releases_of(OPTIONS, True)[:-1] if own.columns["method"] in methods]


@pytest.fixture(scope="module")
def records(study: Study) -> pd.DataFrame:
    return audit_records(study, 0.25, OPTIONS, chosen("reweighted", "retrained", *TUNINGS))


def of(records: pd.DataFrame, metric: str, **wanted: object) -> pd.DataFrame:
    chosen = records[records["metric"] == metric]
    for column, value in wanted.items():
        chosen = chosen[chosen[column].isna() if value is None else chosen[column] == value]
    assert len(chosen), (metric, wanted)
    return chosen


@pytest.mark.slow
def test_tunings_give_nothing_away(records: pd.DataFrame) -> None:
    for method in TUNINGS:
        assert (of(records, "bits_differ", method=method)["value"] == 0).all(), method
        assert (of(records, "distance_in_out", method=method)["value"] == 0).all(), method
        for metric in ("auc", "auc_all"):
            found = of(records, metric, method=method)
            assert set(found["attack"]) == set(ALL_ATTACKS)
            assert (found["value"] == 0.5).all(), method


@pytest.mark.slow
def test_intervals_are_simultaneous_and_no_points(records: pd.DataFrame) -> None:
    own = of(records, "auc", method="scale")
    # 5 releases, 5 attacks, one cell; all 16 pairs tie.
    most = 1 - (0.01 / 25 / 4) ** (1 / 16)
    np.testing.assert_allclose(own["low"], 0.5 - most / 2)
    np.testing.assert_allclose(own["high"], 0.5 + most / 2)
    assert set(own["attacked"]) == {"pair"}
    assert set(own["n_members"]) == {16}


@pytest.mark.slow
def test_the_published_program_is_caught(records: pd.DataFrame) -> None:
    bits = of(records, "auc", method="reweighted", attack="bits").iloc[0]
    assert (bits["value"], bits["high"]) == (1.0, 1.0)
    assert bits["low"] > 0.5
    assert of(records, "bits_differ", method="reweighted")["value"].item() > 0.1
    assert of(records, "distance_in_out", method="reweighted")["value"].item() > 1e-3
    assert set(of(records, "auc", method="reweighted")["l1_budget"]) == {0.25}


@pytest.mark.slow
def test_statistics_find_nothing_after_complete_unlearning_without_tuning(records: pd.DataFrame) -> None:
    for attack in ("parameters", "loss", "likelihood_ratio"):
        assert of(records, "auc", method="retrained", attack=attack)["value"].item() == 0.5
    assert of(records, "distance_in_out", method="retrained")["value"].item() <= 1e-9
    # A downdated head and sums are those of a refit to rounding, not to the bit.
    assert of(records, "bits_differ", method="retrained")["value"].item() > 0


@pytest.mark.slow
def test_records_say_what_was_audited(records: pd.DataFrame) -> None:
    assert set(records["part"]) == {"audit"}
    assert set(records["experiment"]) == {"tuning"}
    assert set(records["selection"]) == {"helpful/mse"}
    assert records["proportion"].to_numpy() == pytest.approx(88 / 350)
    assert records["price_ratio"].to_numpy() == pytest.approx(5.0)
    counts = {name: of(records, name)["value"].item() for name in ("unlearnt_rows", "copied_rows", "training_rows")}
    assert counts == {"unlearnt_rows": 88, "copied_rows": 18, "training_rows": 131}
    assert (of(records, "seconds")["value"] > 0).all()


@pytest.mark.slow
def test_a_history_that_is_run_again_gives_the_same_bits(records: pd.DataFrame) -> None:
    for method in (*TUNINGS, "retrained"):
        assert (of(records, "bits_vary", method=method)["value"] == 0).all(), method


#: What leaking tunings read: heads of models before they forgot, and the grids of their owners.
OLD: list[torch.Tensor] = []
GRIDS: list[OperatingCost] = []


@dataclass(frozen=True)
class WarmStart:
    """Least squares, started from the head before: the same to rounding, and other last bits."""

    name: ClassVar[str] = "warm start"
    label: ClassVar[str] = "Warm start"

    def candidates(self, problem: TuningProblem) -> list["WarmStart"]:
        return [self]

    def solve(self, problem: TuningProblem) -> Solved:
        start = OLD[-1]
        head = start + (problem.least_squares - start)
        return Solved(head, {}, 0.0, 0.0, 1, {})


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained stays in memory, as in a process that serves many requests."""
    trained = ShadowPairs.trained

    def kept(self: ShadowPairs, pair: int, inside: bool) -> Forecaster:
        model = trained(self, pair, inside)
        OLD.append(model.head)
        return model

    monkeypatch.setattr(ShadowPairs, "trained", kept)


@pytest.mark.usefixtures("watched")
def test_a_warm_start_is_caught_by_its_last_bits(study: Study) -> None:
    found = audit_records(study, 0.25, OPTIONS, [tuned(WarmStart())])  # type: ignore[arg-type]
    bits = of(found, "auc", attack="bits").iloc[0]
    assert bits["value"] == 1.0
    assert bits["low"] > 0.5
    assert 0 < of(found, "bits_differ")["value"].item() < 1
    assert of(found, "distance_in_out")["value"].item() <= 1e-12
    # No statistics of the parameters show it.
    assert of(found, "auc", attack="parameters")["value"].item() == 0.5


@dataclass(frozen=True)
class WarmGrid:
    """A factor that depends on what a grid has priced before."""

    name: ClassVar[str] = "warm grid"
    label: ClassVar[str] = "Warm grid"

    def candidates(self, problem: TuningProblem) -> list["WarmGrid"]:
        return [self]

    def solve(self, problem: TuningProblem) -> Solved:
        hours = GRIDS[-1].statistics["dispatch"].hours
        return Solved((1 + 1e-6 * hours) * problem.least_squares, {}, 0.0, 0.0, 1, {})


def test_what_a_grid_remembers_is_caught(study: Study) -> None:
    def run(shadows: ShadowPairs, pair: int, inside: bool, cost: OperatingCost) -> Forecaster:
        GRIDS.append(cost)
        return tuned(WarmGrid()).run(shadows, pair, inside, cost)  # type: ignore[arg-type]

    found = audit_records(study, 0.25, OPTIONS, [Release(run, {"method": "warm grid"})])
    assert of(found, "bits_differ")["value"].item() > 0
    # The attacker's grids priced other hours, too.
    assert of(found, "bits_vary")["value"].item() > 0
    parameters = of(found, "auc", attack="parameters").iloc[0]
    assert parameters["low"] > 0.5


def test_too_few_pairs_are_refused_before_anything_is_fitted(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShadowPairs, "trained", None)
    with pytest.raises(InputError, match=r"pairs: expected at least \d+, got 16"):
        audit_records(study, 0.25, TuningAuditOptions(pairs=16, pair_share=0.5, level=0.99999))


def refuse_differing_bits(study: Study, options: TuningAuditOptions) -> None:
    shadows = ShadowPairs(study, 0.25, options)
    costs = {inside: shadows.priced(inside, 50) for inside in (True, False)}
    for release in releases_of(options, shadows.exact):
        found = [Released.of(release.run(shadows, 0, inside, costs[inside])) for inside in (False, True)]
        tuning = release.columns["method"] not in ("reweighted", "retrained")
        assert (bits_differ(*found) == 0) == tuning, release.columns


@pytest.mark.parametrize("kind", ["linear", "mixer"])
def test_every_tuning_releases_the_same_bits(kind: str, study: Study) -> None:
    if kind == "mixer":
        network = unlearn.fit_network(study.dataset, kind, unlearn.TrainingOptions(epochs=2), l2=1e-3)
        study = Study(network, study.dataset, study.cost, selection="random")
    refuse_differing_bits(study, OPTIONS)


@pytest.mark.slow
def test_every_tuning_of_a_cnn_releases_the_same_bits(
    cnn: Forecaster, dataset: LoadDataset, cost: OperatingCost
) -> None:
    study = Study(cnn, dataset, cost, selection="random", hours=40)
    refuse_differing_bits(study, replace(OPTIONS, pair_share=0.2, folds=4))
