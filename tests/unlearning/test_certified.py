"""Certified heads: fits against other solvers, the bound against exact retraining, the budget, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from tests.proofs import proof_count
from unlearn.dp import NoiseSource, SimulatedNoise
from unlearn.errors import BudgetError, ConvergenceError, InputError, SingularHessianError
from unlearn.unlearning import CertifiedHead, Logistic, PseudoHuber, SmoothPinball, noise_ratio, sigma_for
from unlearn.unlearning.certified_newton import minimise

LOSSES = [Logistic(), PseudoHuber(0.3), SmoothPinball(0.8, 0.5)]


def simulated(seed):
    return NoiseSource("simulated", np.random.default_rng(seed).bytes)


def samples(loss, n=300, D=5, B=2, seed=0):
    """Rows of which some are longer than 1, and targets that depend on them."""
    random = np.random.default_rng(seed)
    design = random.normal(size=(n, D)) / math.sqrt(2 * D)
    design[:, -1] = 0.5
    target = design @ random.normal(size=(D, B)) + random.normal(0, 0.2, (n, B))
    return design, (target > 0.3).astype(float) if loss.name == "logistic" else target


def fitted(loss, sigma=1.0, l2=1.0, seed=0, noise=1, **sizes):
    return CertifiedHead.fit(*samples(loss, seed=seed, **sizes), loss, l2=l2, sigma=sigma, noise=simulated(noise))


def retrained_with_the_same_noise(head):
    return minimise(head.design, head.target, head.loss, head.l2, head.perturbation)[0]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_fit_is_that_of_another_solver(loss):
    head = fitted(loss)
    for b, w in enumerate(head.weights):

        def perturbed(v, b=b):
            e = head.design @ v
            fit = loss.value(e, head.target[:, b]).sum()
            return fit + 0.5 * head.l2 * v @ v + head.perturbation[b] @ v

        other = minimize(
            perturbed, np.zeros(5), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxfev": 20000}
        )
        np.testing.assert_allclose(w, other.x, atol=1e-6)  # the simplex sees values alone
    assert head.spent < 1e-10
    assert (np.linalg.norm(head.gradient(), axis=1) <= head.residual).all()


def test_without_noise_it_is_logistic_regression():
    design, target = samples(Logistic())
    design /= np.maximum(1, np.linalg.norm(design, axis=1))[:, None]
    head = CertifiedHead.fit(design, target, "logistic", l2=2.0, sigma=0.0)
    for b in range(2):
        other = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(design, target[:, b])
        np.testing.assert_allclose(head.weights[b], other.coef_[0], atol=1e-6)  # its tolerance


def test_where_the_loss_is_all_but_quadratic_removal_is_exact():
    head = fitted(PseudoHuber(1e6))
    after = head.forget(range(40))
    gram = after.design.T @ after.design + head.l2 * np.eye(5)
    ridge = np.linalg.solve(gram, after.design.T @ after.target - head.perturbation.T).T
    np.testing.assert_allclose(after.weights, ridge, atol=1e-9)
    assert after.spent < 1e-5


@pytest.mark.proof
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_bound_holds_and_is_not_vacuous(loss):
    """In random removals of random numbers of rows, at random noise and regulariser."""
    tightness, gained = [], []
    for k in range(proof_count(200)):
        random = np.random.default_rng(k)
        l2, n = 10 ** random.uniform(-1, 1), int(random.integers(60, 400))
        head = fitted(loss, sigma=random.uniform(0, 2), l2=l2, seed=k, noise=k, n=n)
        rows = random.permutation(n)[: int(random.integers(1, 20))]
        after = head.stepped(rows)
        actual = np.linalg.norm(after.gradient(), axis=1)
        assert (actual <= after.residual).all()
        exact = retrained_with_the_same_noise(after)
        distance = np.linalg.norm(after.weights - exact)
        # The loss is l2-strongly convex, so that the gradient bounds the distance.
        assert distance * l2 <= after.spent
        step, kept = after.weights - head.weights, after.design
        of_paper = loss.lipschitz * np.linalg.norm(kept, 2) * np.linalg.norm(step, axis=1)
        of_paper *= np.linalg.norm(kept @ step.T, axis=0)
        assert (after.residual <= of_paper / 2 + head.residual + 1e-12).all()
        tightness.append(np.linalg.norm(actual) / after.spent)
        gained.append(distance / np.linalg.norm(head.weights - exact))
    assert np.median(tightness) > 0.01
    assert np.median(gained) < 0.1, "nearer to retraining than what was before"


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_bound_holds_over_a_sequence(loss):
    head = start = fitted(loss)
    for rows in ([0], [5, 6], [100], list(range(20, 30))):
        after = head.stepped(rows)
        assert after.spent > head.spent
        assert (np.linalg.norm(after.gradient(), axis=1) <= after.residual).all()
        head = after
    assert head.certificate()["removed"] == 14
    assert (head.requests, len(head.rows)) == (4, 286)
    at_once = start.stepped([0, 5, 6, 100, *range(20, 30)])
    # Both are as near to the same minimiser as their bounds say.
    assert np.linalg.norm(at_once.weights - head.weights) * head.l2 <= at_once.spent + head.spent


@given(st.floats(1e-3, 1), st.floats(1e-12, 0.4), st.floats(0.01, 100))
def test_the_budget_keeps_what_the_gaussian_mechanism_exactly_gives(epsilon, delta, sigma):
    """Balle and Wang (2018), theorem 8: δ of a shift by the whole budget, at ε."""
    shift = sigma * epsilon / noise_ratio(delta)
    a, b = shift / (2 * sigma), epsilon * sigma / shift
    assert norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b) <= delta


def test_the_budget_says_when_a_retrain_is_due_and_it_is():
    design, target = samples(PseudoHuber(0.3), n=400)
    sigma = sigma_for(design, target, PseudoHuber(0.3), l2=1.0, n_removals=10)
    head = CertifiedHead.fit(design, target, PseudoHuber(0.3), l2=1.0, sigma=sigma, noise=simulated(3))
    assert not head.retrain_due
    removed = 0
    refused = None
    while refused is None:
        try:
            head, removed = head.forget([removed]), removed + 1
        except BudgetError as error:
            refused = str(error)
        assert head.spent <= head.budget
    assert refused.endswith("A retrain is due: pass retrain=True. Nothing was removed.")
    assert 3 <= removed <= 30, "about ten, as asked for"
    assert head.remaining_budget < head.cost_of([removed])
    assert len(head.rows) == 400 - removed, "nothing half done"
    again = head.forget([removed], retrain=True)
    assert not again.retrain_due
    assert (again.requests, len(again.rows)) == (0, 399 - removed)
    assert again.spent < 1e-10
    assert np.linalg.norm(again.gradient()) < 1e-10
    np.testing.assert_array_equal(again.perturbation, head.perturbation)
    assert not np.isclose(again.retrained("os").perturbation, head.perturbation).any(), "fresh noise"


def test_a_retrained_head_is_one_fitted_to_what_remains():
    design, target = samples(Logistic())
    head = CertifiedHead.fit(design, target, "logistic", l2=1.0, sigma=1.0).forget([3, 4])
    again = head.retrained(simulated(9))
    assert (again.noise, head.retrained().noise) == ("simulated", "os")
    kept = np.setdiff1d(np.arange(300), [3, 4])
    fresh = CertifiedHead.fit(design[kept], target[kept], "logistic", l2=1.0, sigma=1.0, noise=simulated(9))
    np.testing.assert_array_equal(again.weights, fresh.weights)


def test_a_retrain_is_due_where_what_is_left_is_less_than_the_mean_removal():
    head, costs = fitted(PseudoHuber(0.3), sigma=0.05), []
    for row in range(30):
        after = head.stepped([row])
        costs.append(after.spent - head.spent)
        assert after.retrain_due == (after.remaining_budget <= np.mean(costs))
        head = after
    assert head.retrain_due


def test_without_noise_nothing_can_be_removed():
    head = fitted(Logistic(), sigma=0.0)
    assert head.retrain_due
    with pytest.raises(BudgetError):
        head.forget([0])
    assert head.certificate()["epsilon_spent"] is None


def test_nothing_of_removed_rows_is_kept():
    head = fitted(PseudoHuber(0.3), sigma=10.0)
    gone = head.design[7]
    after = head.forget([7])
    assert not (after.to_tensors()["design"].numpy() == gone).all(axis=1).any()
    assert 7 not in after.rows
    assert len(after.target) == 299


def test_rows_are_clipped_and_forecasts_too():
    design, target = samples(PseudoHuber(0.3))
    design[:10] *= 20
    head = CertifiedHead.fit(design, target, l2=1.0, sigma=0.1)
    assert np.linalg.norm(head.design, axis=1).max() <= 1 + 1e-12
    assert head.certificate()["clipped"] == (np.linalg.norm(design, axis=1) > 1).sum() >= 10
    np.testing.assert_allclose(head.predict(head.design), head.predict(design))
    np.testing.assert_array_equal(head.target, target)


def test_the_default_noise_is_for_one_row_in_a_hundred():
    design, target = samples(Logistic())
    head = CertifiedHead.fit(design, target, "logistic", l2=1.0)
    assert head.sigma == sigma_for(design, target, "logistic", l2=1.0, n_removals=3)


def test_the_certificate_says_all_and_nothing_secret():
    said = fitted(SmoothPinball(0.8, 0.5), sigma=5.0).forget([1]).certificate()
    assert said["guarantee"] == "certified"
    assert said["loss"] == {"name": "smooth_pinball", "tau": 0.8, "width": 0.5}
    assert said["noise"] == "simulated: protects nobody"
    assert 0 < said["epsilon_spent"] <= said["epsilon"] == 1.0
    assert said["epsilon_spent"] == pytest.approx(said["residual_bound"] / said["budget"])
    assert any("adaptive" in sentence for sentence in said["limitations"])
    assert not any(isinstance(value, np.ndarray) for value in said.values())


def test_a_head_comes_back_from_its_tensors():
    head = CertifiedHead.fit(*samples(Logistic()), "logistic", l2=1.0, sigma=1.0).forget([4])
    again = CertifiedHead.from_tensors(head.to_tensors(), head.settings())
    assert again.certificate() == head.certificate()
    np.testing.assert_array_equal(again.forget([8]).weights, head.forget([8]).weights)
    np.testing.assert_array_equal(again.forget([8]).residual, head.forget([8]).residual)
    np.testing.assert_array_equal(again.retrained().weights, head.retrained().weights)


def test_tensors_that_do_not_fit_are_refused():
    head = fitted(Logistic())
    tensors, settings = head.to_tensors(), head.settings()
    with pytest.raises(InputError, match="certified head target: expected shape"):
        CertifiedHead.from_tensors({**tensors, "target": tensors["target"][1:]}, settings)
    with pytest.raises(InputError, match="certified head: expected perturbation, got none"):
        CertifiedHead.from_tensors({k: v for k, v in tensors.items() if k != "perturbation"}, settings)


GOOD = {"l2": 1.0, "sigma": 1.0}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"l2": 0.0}, "l2: expected a number above 0"),
        ({"sigma": -1.0}, "sigma: expected a number of at least 0"),
        ({"epsilon": 1.5}, "epsilon: expected at most 1, got 1.5"),
        ({"epsilon": 0.0}, "epsilon: expected a number above 0"),
        ({"delta": 1.0}, "delta: expected a share"),
        ({"noise": SimulatedNoise(3)}, 'noise: expected "os" for data of unknown origin, got a seed'),
        ({"loss": "squared"}, "loss: expected one of"),
        ({"loss": "logistic"}, "expected 0 and 1"),
        ({"design": np.ones((4, 2))}, "as many rows, at least 2"),
        ({"design": np.full((300, 5), np.nan)}, "design: expected finite"),
        ({"target": np.full((300, 2), np.inf)}, "target: expected finite"),
        ({"target": np.ones(300)}, "target: expected 2 axes"),
    ],
)
def test_unusable_input_is_refused(changed, said):
    design, target = samples(PseudoHuber(0.3))
    with pytest.raises(InputError, match=said):
        CertifiedHead.fit(**{"design": design, "target": target, **GOOD, **changed})


def test_unusable_rows_are_refused():
    head = fitted(PseudoHuber(0.3), sigma=100.0).forget([2])
    for rows, said in (
        ([], "got none; nothing to remove"),
        ([2, 3], "got 1 that were removed before"),
        ([300], "expected rows from 0 to 299"),
        ([3, 3], "each row once"),
        (head.rows, "expected some rows to remain, got all 299"),
    ):
        with pytest.raises(InputError, match=said):
            head.forget(rows)
    with pytest.raises(InputError, match="design: expected shape"):
        head.predict(np.ones((2, 3)))
    with pytest.raises(InputError, match="n_removals: expected a whole number"):
        sigma_for(*samples(PseudoHuber(0.3)), l2=1.0, n_removals=0)


def test_a_regulariser_that_is_lost_in_rounding_is_said():
    with pytest.raises(SingularHessianError, match=r"with l2=1e-30\. Raise l2"):
        CertifiedHead.fit(np.ones((20, 2)), np.ones((20, 1)), l2=1e-30, sigma=0.0)


class LogCosh:
    """A loss of one's own: log cosh e, whose curvature 1/cosh² is steepest where tanh² is a third."""

    name = "log_cosh"
    lipschitz = 4 / (3 * math.sqrt(3))

    def targets(self, target):
        return target

    def value(self, z, y):
        return np.logaddexp(z - y, y - z) - math.log(2)

    def slope(self, z, y):
        return np.tanh(z - y)

    def curvature(self, z, y):
        return 1 - np.tanh(z - y) ** 2

    def third(self, z, y):
        return -2 * np.tanh(z - y) * (1 - np.tanh(z - y) ** 2)


def test_a_loss_of_ones_own():
    head = fitted(LogCosh(), sigma=0.1)
    after = head.stepped(range(10))
    assert 0 < np.linalg.norm(after.gradient()) <= after.spent
    assert np.linalg.norm(after.weights - retrained_with_the_same_noise(after)) * head.l2 <= after.spent
    assert after.certificate()["loss"] == {"name": "log_cosh"}


def test_a_fit_that_does_not_converge_is_said(monkeypatch):
    monkeypatch.setattr("unlearn.unlearning.certified_newton._MAX_STEPS", 1)
    with pytest.raises(ConvergenceError, match="expected the gradient of output"):
        fitted(PseudoHuber(0.01), l2=1e-3)
