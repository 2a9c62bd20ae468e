"""Scores that go on where they were interrupted."""

import json

import numpy as np
import pytest
import torch

from tests.influence.problems import N_TRAIN, RidgeProblem
from unlearn.errors import InputError, MismatchError
from unlearn.influence import CGInfluenceModule, checkpoint


@pytest.fixture
def module(monkeypatch):
    monkeypatch.setattr(checkpoint, "ROWS_A_FILE", 30)
    return RidgeProblem.make().module(CGInfluenceModule, damp=0.0)


@pytest.mark.parametrize("stests", [False, True], ids=["one stest", "several"])
def test_an_interrupted_computation_goes_on(module, tmp_path, monkeypatch, stests):
    rows, tests = list(range(N_TRAIN))[::-1], [0, 3]
    given = module.stests(tests) if stests else None
    expected = module.influences(rows, tests, given)
    solves, scored = [], []
    stest_of, scores_of = module.stest, module._scores

    def stest(chosen):
        solves.append(chosen)
        return stest_of(chosen)

    def scores(theta, part, solved):
        if len(scored) == 2:
            scored.append(None)
            raise KeyboardInterrupt
        scored.append(len(part))
        return scores_of(theta, part, solved)

    monkeypatch.setattr(module, "stest", stest)
    monkeypatch.setattr(module, "_scores", scores)
    with pytest.raises(KeyboardInterrupt):
        module.influences(rows, tests, given, checkpoint=tmp_path / "scores")
    found = module.influences(rows, tests, given, checkpoint=tmp_path / "scores")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert scored == [30, 30, None, 30, 10]
    assert len(solves) == (0 if stests else 1)
    assert {path.suffix for path in (tmp_path / "scores").iterdir()} == {".json", ".safetensors"}
    assert not list(tmp_path.rglob(".*"))
    # Finished: nothing is computed again.
    assert torch.equal(module.influences(rows, tests, given, checkpoint=str(tmp_path / "scores")), found)
    assert len(scored) == 5


def test_what_was_kept_belongs_to_one_computation(module, tmp_path):
    module.influences([0, 1], [0], checkpoint=tmp_path)
    assert json.loads((tmp_path / "identity.json").read_text())["rows"] == 2
    for rows, tests, stest in (([1, 0], [0], None), ([0, 1], [1], None), ([0, 1], [0], torch.ones(11))):
        with pytest.raises(MismatchError, match="holds scores of another model, other rows or other settings"):
            module.influences(rows, tests, stest, checkpoint=tmp_path)
    with torch.no_grad():
        module.model.bias += 1
    with pytest.raises(MismatchError):
        module.influences([0, 1], [0], checkpoint=tmp_path)
    with pytest.raises(MismatchError):
        RidgeProblem.make().module(CGInfluenceModule, damp=1.0).influences([0, 1], [0], checkpoint=tmp_path)


def test_scores_of_other_settings_data_or_losses_are_not_reused(tmp_path):
    def module(rtol=1e-10, row=0.0, test_row=0.0, l2=1e-2):
        problem = RidgeProblem.make(l2=l2)
        model = problem.model()
        problem.X[50, 0] += row
        problem.X_test[9, 0] += test_row
        problem.model = lambda: model
        return problem.module(CGInfluenceModule, damp=0.0, rtol=rtol)

    kept = module().influences([0, 1], [0], checkpoint=tmp_path)
    assert torch.equal(module().influences([0, 1], [0], checkpoint=tmp_path), kept)
    for changed in ({"rtol": 1e-2}, {"row": 1.0}, {"test_row": 1.0}):
        with pytest.raises(MismatchError):
            module(**changed).influences([0, 1], [0], checkpoint=tmp_path)
    same_parameters = module()
    same_parameters.objective.l2 = 0.5
    with pytest.raises(MismatchError):
        same_parameters.influences([0, 1], [0], checkpoint=tmp_path)


def test_a_file_is_no_folder(module, tmp_path):
    (tmp_path / "scores").write_text("")
    with pytest.raises(InputError, match="checkpoint: expected a folder, got the file"):
        module.influences([0], [0], checkpoint=tmp_path / "scores")


def test_no_rows_give_no_scores(module, tmp_path):
    assert module.influences(np.array([]), [0], checkpoint=tmp_path).shape == (0,)
