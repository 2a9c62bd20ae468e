"""The page says what this configuration does, not what the default one does."""

import unlearn
from experiments.deviations import deviations
from tests.experiments.test_config import composed


def said(*overrides: str) -> str:
    return " ".join(deviations(composed("paper", *overrides), unlearn.load_case("ieee14")))


def test_sentences_follow_the_configuration() -> None:
    default = said()
    assert "GEFCom2012" in default
    assert "drawn at random (seed 0)" in default
    assert "it is exact" in default
    assert "waits 20 epochs" in default
    assert "3500 s² + 3500 s" in default
    other = said(
        "split.core_choice=first",
        "grid.backend=cvxpylayers",
        "grid.derivative=lsqr",
        "forecaster.cnn.training.patience=5",
        "forecaster.mixer.training.patience=5",
        "data=synthetic",
    )
    assert "first 30 % of the training rows" in other
    assert "that same mode is used" in other
    assert "waits 5 epochs" in other
    assert "GEFCom2012" not in other
    assert "12 evenly spaced hours" in said("evaluation.hours=12")
    assert "bounded by the load" in said("grid.bounds=shed_at_most_load")
