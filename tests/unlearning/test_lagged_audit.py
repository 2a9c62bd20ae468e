"""Who knows which of two loads a forgotten hour had is found out by lags that are ignored, and by no others."""

import numpy as np
import pytest

import unlearn
from tests.unlearning.lagged_hours import made_up
from unlearn.forecasters import Forecaster
from unlearn.studies._shared.attackers import Attacker, cross_fitted, paired_auc
from unlearn.studies.tuning.audit_bits import Released, replay_scores
from unlearn.unlearning.lagged import LAGGED

#: Pairs of histories that differ in the forgotten loads alone; 99 % that all six intervals hold together.
PAIRS, LEVEL = 40, 1 - 0.01 / 6
ATTACKED = np.arange(60, 84)


def histories(lagged: str | None) -> list[tuple[Forecaster, Forecaster]]:
    """Models that have forgotten a day, of which the loads were low or high; each pair with other days around it."""
    found = []
    for seed in range(PAIRS):
        data = made_up([24], seed)
        pair = []
        for factor in (0.5, 1.5):
            load = data.load_mw.copy()
            load[ATTACKED] *= factor
            own = data.with_loads(load)
            pair.append(unlearn.forget(unlearn.fit_linear(own), own, ATTACKED, lagged=lagged).model)
        found.append((pair[0], pair[1]))
    return found


@pytest.mark.parametrize("lagged", [None, *LAGGED])
def test_an_attacker_who_knows_both_candidates_finds_which_it_was_only_if_lags_are_ignored(lagged: str | None) -> None:
    """By both histories repeated, bit by bit; or without the remaining rows, by what other pairs' heads teach."""
    pairs = histories(lagged)
    data = made_up([24])
    attacker = Attacker.of(unlearn.fit_linear(data).objective(data), ATTACKED, 4, seed=0)
    low, high = (np.stack([pair[side].head.numpy() for pair in pairs]) for side in (0, 1))
    by_head = paired_auc(*cross_fitted(attacker, "parameters", low, high, seed=0), LEVEL)
    bits = [tuple(Released.of(model) for model in pair) for pair in pairs]
    lows, highs = [pair[0] for pair in bits], [pair[1] for pair in bits]
    by_bits = paired_auc(replay_scores(lows, lows, highs), replay_scores(highs, lows, highs), LEVEL)
    if lagged is None:
        assert by_bits.value > 0.9
        assert by_head.low > 0.5
    for found in (by_head, by_bits):
        assert (found.low <= 0.5 <= found.high) == (lagged is not None)
