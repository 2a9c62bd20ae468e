"""Every influence module on ridge regression, against the closed form and leave-one-out refits."""

import pytest
import torch
from scipy import stats

from tests.influence.problems import N_TEST, N_TRAIN, RidgeProblem
from unlearn.influence import AutogradInfluenceModule, CGInfluenceModule, LiSSAInfluenceModule

METHODS = {
    "direct": (AutogradInfluenceModule, {}),
    "direct, Gauss-Newton": (AutogradInfluenceModule, {"gnh": True}),
    "CG": (CGInfluenceModule, {"preconditioner": "none"}),
    "CG, Gauss-Newton": (CGInfluenceModule, {"gnh": True, "preconditioner": "none"}),
    "CG, blocks": (CGInfluenceModule, {"preconditioner": "block"}),
    "CG, Nystrom": (CGInfluenceModule, {"preconditioner": "nystrom"}),
}
LISSA = {"repeat": 2, "depth": 200, "scale": 20.0}
EXACT = {torch.float64: {"rtol": 1e-8, "atol": 1e-9}, torch.float32: {"rtol": 2e-4, "atol": 2e-4}}


@pytest.fixture(params=[torch.float64, torch.float32], ids=["f64", "f32"])
def problem(request):
    return RidgeProblem.make(request.param)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize("rows", [[0], [9, 3, 4, 0, 7, 1, 2, 8]], ids=["one row", "eight rows"])
@pytest.mark.parametrize("train", [True, False], ids=["train", "test"])
def test_gradients_are_those_of_the_closed_form(problem, batch_size, rows, train):
    module = problem.module(CGInfluenceModule, batch_size, damp=0.0)
    found = (module.train_loss_grad if train else module.test_loss_grad)(rows)
    assert found.dtype == problem.dtype
    expected = problem.gradient(problem.solution(), rows, train)
    torch.testing.assert_close(found.double(), expected, **EXACT[problem.dtype])


@pytest.mark.parametrize("damp", [0.0, 0.02])
@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize("method", METHODS)
def test_inverse_products_are_those_of_the_closed_form(problem, method, batch_size, damp):
    kind, options = METHODS[method]
    module = problem.module(kind, batch_size, damp=damp, **options)
    vectors = torch.randn(problem.X.shape[1], 3, generator=torch.Generator().manual_seed(1), dtype=problem.dtype)
    expected = torch.linalg.solve(problem.hessian(damp), vectors.double())
    found = module.inverse_hvp(vectors[:, 0])
    assert found.dtype == problem.dtype
    torch.testing.assert_close(found.double(), expected[:, 0], **EXACT[problem.dtype])
    torch.testing.assert_close(module.inverse_hvps(vectors).double(), expected, **EXACT[problem.dtype])


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_the_closed_form(problem, method):
    kind, options = METHODS[method]
    module = problem.module(kind, damp=0.0, **options)
    weights, tests, rows = problem.solution(), [3, 4, 5, 8], [99, 0, 17, 50]
    stest = torch.linalg.solve(problem.hessian(0.0), problem.gradient(weights, tests, train=False))
    expected = torch.stack([problem.gradient(weights, [row], train=True) @ stest for row in rows]) / N_TRAIN
    found = module.influences(rows, tests)
    assert found.dtype == problem.dtype
    torch.testing.assert_close(found.double(), expected, **EXACT[problem.dtype])
    # A given stest is used, whatever the test rows.
    again = module.influences(rows, [0], stest=stest.to(problem.dtype))
    torch.testing.assert_close(again.double(), expected, **EXACT[problem.dtype])


@pytest.mark.parametrize("method", [*METHODS, "LiSSA"])
def test_scores_agree_with_leave_one_out_refits(problem, method):
    torch.manual_seed(0)
    kind, options = METHODS.get(method, (LiSSAInfluenceModule, LISSA))
    tests = list(range(N_TEST))
    found = problem.module(kind, 64, damp=0.0, **options).influences(range(N_TRAIN), tests)
    base = problem.test_loss(problem.solution(), tests)
    keep = [[i for i in range(N_TRAIN) if i != row] for row in range(N_TRAIN)]
    true = torch.stack([problem.test_loss(problem.solution(rows), tests) - base for rows in keep])
    assert stats.pearsonr(found, true)[0] > 0.9
    assert stats.spearmanr(found, true)[0] > 0.9


@pytest.mark.parametrize("gnh", [False, True], ids=["Hessian", "Gauss-Newton"])
def test_lissa_estimates_the_closed_form(problem, gnh):
    torch.manual_seed(0)
    module = problem.module(LiSSAInfluenceModule, 64, damp=0.02, gnh=gnh, repeat=4, depth=120, scale=25.0)
    vector = torch.randn(problem.X.shape[1], dtype=problem.dtype)
    expected = torch.linalg.solve(problem.hessian(0.02), vector.double())
    found = module.inverse_hvp(vector)
    assert float((found - expected).norm() / expected.norm()) < 0.05
    assert module.solution.statistics["relative_residual"] < 0.1


def test_lissa_on_all_rows_at_once_is_a_neumann_series():
    """Without noise in the batches every step is known."""
    problem = RidgeProblem.make()
    steps = []
    module = problem.module(
        LiSSAInfluenceModule, N_TRAIN, damp=0.02, repeat=1, depth=5, scale=30.0,
        debug_callback=lambda r, t, h: steps.append((r, t, h)),
    )  # fmt: skip
    module._loader_wrapper = lambda train, sample_n_batches: [(module._train.span(0, N_TRAIN), N_TRAIN)] * 5
    vector = torch.ones(problem.X.shape[1], dtype=torch.float64)
    found = module.inverse_hvp(vector)
    expected, hessian = vector, problem.hessian(0.02)
    for _, _, h in steps:
        expected = vector + expected - hessian @ expected / 30.0
        torch.testing.assert_close(h, expected, rtol=1e-10, atol=1e-10)
    assert [(r, t) for r, t, _ in steps] == [(0, t) for t in range(5)]
    torch.testing.assert_close(found, expected / 30.0, rtol=1e-10, atol=1e-10)


def test_the_same_seed_gives_the_same_lissa():
    problem = RidgeProblem.make()
    module = problem.module(LiSSAInfluenceModule, 10, damp=0.1, repeat=2, depth=20, scale=50.0)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(module.inverse_hvp(torch.ones(11, dtype=torch.float64)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_every_test_row_has_a_column():
    problem = RidgeProblem.make()
    module = problem.module(CGInfluenceModule, damp=0.0)
    matrix = module.influence_matrix([4, 1], [0, 9, 3])
    for column, test in zip(matrix.T, [0, 9, 3], strict=True):
        torch.testing.assert_close(column, module.influences([4, 1], [test]), rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(module.influence_matrix([4, 1], [], module.stests([0, 9, 3])), matrix)


def test_per_sample_gradients_are_those_of_single_rows():
    problem = RidgeProblem.make()
    module = problem.module(CGInfluenceModule, damp=0.0, memory_mb=1e-3)
    rows = [5, 99, 0, 42]
    expected = torch.stack([problem.gradient(problem.solution(), [row], train=True) for row in rows])
    torch.testing.assert_close(module.train_loss_grads(rows), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("scale", "condition"), [(1.0, None), (1e-2, None), (1e-4, 1e3)])
def test_automatic_damping_leaves_well_conditioned_hessians_alone(scale, condition):
    """Condition numbers of some 10, 1e5 and 1e9."""
    problem = RidgeProblem.make(l2=0.0)
    problem.X[:, 0] *= scale
    module = problem.module(CGInfluenceModule, damp="auto", rtol=1e-8)
    spectrum = torch.linalg.eigvalsh(problem.hessian(module.damp))
    if condition is None:
        assert module.damp == 0.0
    else:
        assert float(spectrum[-1] / spectrum[0]) == pytest.approx(condition, rel=1e-3)
