"""A way to tune of one's own, passed as an object and named in a configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import unlearn
from tests.experiments.conftest import Runner
from unlearn.forecasters import load_forecaster
from unlearn.unlearning.tuning import Solved, TuningProblem


@dataclass(frozen=True)
class Margin:
    """A constant share of each load's mean is added to its forecast."""

    name: ClassVar[str] = "margin"
    label: ClassVar[str] = "Margin"

    share: float | None = None

    def candidates(self, problem: TuningProblem) -> list["Margin"]:
        return [self] if self.share is not None else [Margin(share) for share in (0.0, 0.03, 0.06, 0.09)]

    def solve(self, problem: TuningProblem) -> Solved:
        head = problem.least_squares.clone()
        head[:, -1] += self.share * problem.target.mean(dim=0)
        before, after = problem.value(problem.least_squares), problem.value(head)
        return Solved(head, {"share": self.share}, before, after, 1, {})


def test_it_is_chosen_applied_and_repeated(linear, dataset, grid) -> None:
    rows = dataset.split.train[:50]
    done = unlearn.forget(linear, dataset, rows, tune=unlearn.Tuning("cost", Margin(), grid))
    share = done.tuned.parameters["share"]
    assert share > 0
    tried = {own["share"]: own["left_out"] for own in done.tuned.tried}
    assert done.tuned.left_out_after == tried[share]  # the most cautious one that is as good as the best
    assert tried[share] < tried[0.0]
    plain = done.model.untuned().forecast(dataset.features[:20])
    mean = dataset.load_pu[done.tuned.rows].mean(axis=0)
    np.testing.assert_allclose(done.model.forecast(dataset.features[:20]), plain + share * mean)
    again = unlearn.forget(done.model, dataset, dataset.split.train[50:80])
    assert again.complete
    assert again.model.recipe == done.model.recipe


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(tmp_path, monkeypatch)


def test_a_program_tunes_by_it(run: Runner) -> None:
    own = f"{{_target_: {__name__}.Margin, share: 0.05}}"
    folder = run("unlearn", "criterion=cost", "tuning=none", f"tuning={own}")
    assert load_forecaster(folder / "model").card.tuned["parameters"] == {"share": 0.05}
