"""An attack and a classifier that are defined here take part in the measure of leakage as those of the library do."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.studies.households import made_households
from unlearn.attacks import ATTACKS, Attack, Classifier, Distance, membership_scores, require_attacks
from unlearn.attacks.base import label_of
from unlearn.errors import InputError
from unlearn.households import split_households
from unlearn.studies.leakage import LeakageOptions, known_releases, measure_leakage


@dataclass(frozen=True)
class Energy(Attack):
    """How near the energy of a day is to that of a released one."""

    name: str = "energy"
    label = "energy of the day"
    score_of_a_copy = 0.0

    def score(self, synthetic: np.ndarray, attacked: np.ndarray, reference: np.ndarray, seed: int = 0) -> np.ndarray:
        known, asked = np.sort(synthetic.sum(axis=1)), attacked.sum(axis=1)
        place = np.searchsorted(known, asked).clip(1, len(known) - 1)
        return -np.minimum(np.abs(asked - known[place]), np.abs(asked - known[place - 1]))


@dataclass(frozen=True)
class FirstValue(Classifier):
    """Always says the first value."""

    name: str = "first value"

    def score(self, profiles: np.ndarray, values: np.ndarray, attacked: np.ndarray, seed: int = 0) -> np.ndarray:
        return np.tile(-np.arange(len(np.unique(values)), dtype=float), (len(attacked), 1))


OPTIONS = LeakageOptions(
    attacks=(Energy(), "distance"),
    classifiers=(FirstValue(),),
    max_profiles=300,
    draws=1,
    permutations=1,
    fprs=(0.1,),
    redraws=1,
)


def test_an_object_attacks_a_release_and_its_copies() -> None:
    train, rest = split_households(made_households(60, 10, 0), 0.6, 0)
    holdout, third = split_households(rest, 1 / 3, 0)
    copied, train = known_releases(train, third, OPTIONS)[0]
    records = measure_leakage(copied, train, holdout, OPTIONS).to_frame()
    own = records[records["attack"] == "energy"]
    assert own[(own["metric"] == "auc") & (own["unit_attacked"] == "profile")]["value"].item() > 0.9
    assert own[own["metric"] == "identical_others"]["value"].item() == 0
    guessed = records[(records["metric"] == "balanced_accuracy") & (records["learnt_from"] == "release")]
    assert set(guessed["classifier"]) == {"first value"}


def test_names_and_objects_are_told_apart_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert label_of("energy") == "energy"
    monkeypatch.setattr(ATTACKS, "_entries", dict(ATTACKS._entries))
    ATTACKS.register("energy")(Energy)
    assert label_of("energy") == "energy of the day"
    assert require_attacks(["energy"]) == [Energy()]
    with pytest.raises(InputError, match=r"each name once, got \['distance', 'distance'\]"):
        replace(OPTIONS, attacks=("distance", Distance()))
    with pytest.raises(InputError, match=r"attack: expected one of distance, .* got 'magic'"):
        replace(OPTIONS, attacks=("magic",))


def test_scores_of_another_shape_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Energy, "score", lambda *_: np.zeros(3))
    with pytest.raises(InputError, match="scores: expected shape"):
        membership_scores(Energy(), *(np.ones((5, 24)),) * 3)
