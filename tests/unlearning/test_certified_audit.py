"""The promise of certified removal, audited: exact privacy losses, and attackers who compare removed and retrained."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, norm

from tests.proofs import proof_count
from tests.unlearning.test_certified import LOSSES, fitted, retrained_with_the_same_noise, samples, simulated
from unlearn.errors import InputError
from unlearn.unlearning import CertifiedHead, PseudoHuber, noise_ratio, privacy_loss
from unlearn.unlearning.certified_newton import gradient, minimise

SIGMA, STEP = 0.7, 1e-5


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("requests", [[[0]], [[0, 1, 2]], [[0], [5], [7, 8]]], ids=str)
def test_the_privacy_loss_is_the_ratio_of_densities(loss, requests):
    """With one parameter both densities are derivatives by differences of the maps from and to the noise."""
    head = fitted(loss, sigma=SIGMA, l2=0.5, n=12, D=1, B=1)

    def at(b):
        noise = np.array([[b]])
        return replace(head, perturbation=noise, weights=minimise(head.design, head.target, loss, head.l2, noise)[0])

    for b in (-0.6, 0.1, 0.9):
        after, found = privacy_loss(at(b), requests)
        moved = [privacy_loss(at(b + h), requests)[0].weights[0, 0] for h in (-STEP, STEP)]
        removed = norm.pdf(b, scale=SIGMA) / abs((moved[1] - moved[0]) / (2 * STEP))

        def noise_of(w, after=after):
            nothing = np.zeros((1, 1))
            return -gradient(np.array([[w]]), after.design, after.target, loss, head.l2, nothing)[0, 0]

        w = after.weights[0, 0]
        slope = (noise_of(w + STEP) - noise_of(w - STEP)) / (2 * STEP)
        retrained = norm.pdf(noise_of(w), scale=SIGMA) * abs(slope)
        assert found == pytest.approx(math.log(removed / retrained), abs=1e-6)  # of the differences


def test_the_privacy_loss_needs_noise_and_a_fresh_head():
    with pytest.raises(InputError, match="sigma of the head: expected a number above 0"):
        privacy_loss(fitted(PseudoHuber(0.3), sigma=0.0), [[0]])
    with pytest.raises(InputError, match=r"expected one just fitted, got one after 1 removals\. Call head\.retrained"):
        privacy_loss(fitted(PseudoHuber(0.3), sigma=9.0).forget([1]), [[0]])


PROMISE = {"epsilon": 0.5, "delta": 0.02}
GONE = list(range(8))


def tiny(loss):
    """Few rows, of which those that are to go pull the other way."""
    design, target = samples(loss, n=60, D=3, B=1)
    target[GONE] = 0.0 if loss.name == "logistic" else target[GONE] - 1.5
    return design, target


def head_of(loss, sigma, seed):
    return CertifiedHead.fit(*tiny(loss), loss, l2=1.0, sigma=sigma, noise=simulated(seed), **PROMISE)


def sigma_that_is_spent(loss):
    """The noise for which the removal takes half of the budget, or so: how much depends on the noise."""
    return 2 * head_of(loss, 0.0, 0).cost_of(GONE) * noise_ratio(PROMISE["delta"]) / PROMISE["epsilon"]


@pytest.mark.proof
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_privacy_losses_over_many_draws_are_within_the_promise(loss):
    sigma, epsilon = sigma_that_is_spent(loss), PROMISE["epsilon"]
    losses, spent = [], []
    for k in range(proof_count(2000)):
        head = head_of(loss, sigma, k)
        after, found = privacy_loss(head, [GONE])
        spent.append(after.spent / head.budget)
        losses.append(found if spent[-1] <= 1 else 0.0)  # fitted anew with the same noise: nothing is lost
    assert 0.25 < np.median(spent) < 1, "the budget is used"
    more, less = np.array(losses), -np.array(losses)
    # δ both ways: draws are those of the removal, and are weighted to be those of the retraining.
    assert np.maximum(0, 1 - np.exp(epsilon - more)).mean() <= PROMISE["delta"]
    assert (np.exp(less) * np.maximum(0, 1 - np.exp(epsilon - less))).mean() <= PROMISE["delta"]
    assert np.abs(more).max() < epsilon


def epsilon_shown(one, two, delta, alpha=1e-6):
    """Lower bound of ε that two samples of one statistic show: thresholds at quantiles, Clopper-Pearson both ways.

    Thresholds come from the first half of each sample, rates from the second.
    """
    halves = [np.array_split(sample, 2) for sample in (one, two)]
    grid = np.quantile(np.concatenate([halves[0][0], halves[1][0]]), np.linspace(0.05, 0.95, 19))
    best = 0.0
    share = alpha / (4 * len(grid))
    for a, b in ((halves[0][1], halves[1][1]), (halves[1][1], halves[0][1])):
        for sign in (1, -1):
            for cut in grid:
                hits, false = int((sign * a > sign * cut).sum()), int((sign * b > sign * cut).sum())
                low = beta.ppf(share, hits, len(a) - hits + 1) if hits else 0.0
                high = beta.ppf(1 - share, false + 1, len(b) - false) if false < len(b) else 1.0
                if low > delta:
                    best = max(best, math.log((low - delta) / high))
    return best


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_an_attacker_does_not_tell_removed_from_retrained(loss):
    """Two hypotheses: the model forgot the rows, or never had them.

    Positive control: it still has them, at a fiftieth of the noise.
    """
    sigma, n = sigma_that_is_spent(loss), proof_count(3000)
    quiet = head_of(loss, 0.0, 0)
    towards = quiet.weights - retrained_with_the_same_noise(quiet.stepped(GONE))  # what the rows have changed
    others = [np.delete(array, GONE, axis=0) for array in tiny(loss)]
    statistics = {name: np.empty(n) for name in ("removed", "retrained", "kept", "never")}
    for k in range(n):
        one, other = simulated(2 * k), simulated(2 * k + 1)
        settings = {"l2": 1.0, **PROMISE}
        found = {
            "removed": head_of(loss, sigma, 4 * k).forget(GONE, retrain=True),
            "retrained": CertifiedHead.fit(*others, loss, sigma=sigma, noise=one, **settings),
            "kept": head_of(loss, sigma / 50, 4 * k + 1),
            "never": CertifiedHead.fit(*others, loss, sigma=sigma / 50, noise=other, **settings),
        }
        for name, head in found.items():
            statistics[name][k] = (head.weights * towards).sum()
    delta, epsilon = PROMISE["delta"], PROMISE["epsilon"]
    assert epsilon_shown(statistics["removed"], statistics["retrained"], delta) <= epsilon
    assert epsilon_shown(statistics["kept"], statistics["never"], delta, alpha=1e-2) > epsilon


@pytest.mark.slow
@pytest.mark.proof
def test_the_noise_of_a_retrain_that_the_budget_asks_for_is_the_same():
    """Whether the bound is within the budget depends on the noise; fresh noise would tell who was fitted anew.

    An auditor who knows all rows finds the noise that goes with a model, and what its bound would be.
    """
    loss, n = PseudoHuber(0.3), proof_count(4000)
    sigma = sigma_that_is_spent(loss)

    whole = head_of(loss, sigma, 0)

    def exceeds(b):
        weights, _ = minimise(whole.design, whole.target, loss, whole.l2, b)
        return replace(whole, perturbation=b, weights=weights).stepped(GONE).spent > whole.budget

    def noise_of(head):
        nothing = np.zeros_like(head.weights)
        return -gradient(head.weights, head.design, head.target, loss, head.l2, nothing)

    retrained, same, fresh = (np.zeros(n, dtype=bool) for _ in range(3))
    for k in range(n):
        head = head_of(loss, sigma, k)
        retrained[k] = head.stepped(GONE).spent > head.budget  # its own noise is as good as that of any other
        after = head.forget(GONE, retrain=True)
        same[k] = exceeds(noise_of(after))
        fresh[k] = exceeds(noise_of(after.retrained(simulated(10**6 + k)) if retrained[k] else after))
    share = retrained.mean()
    assert 0.1 < share < 0.6
    assert abs(same.mean() - share) < 0.02, "the step moves some across the threshold, both ways"
    assert math.log((share - PROMISE["delta"]) / fresh.mean()) > PROMISE["epsilon"], "what fresh noise would break"
