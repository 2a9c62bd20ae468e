"""K-FAC: exact where it is, against factors from dense Jacobians, and against CG."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn
from torch.func import hessian, jacrev

from tests.influence.kfac_models import B, D, N, Plain, kfac, loader, normal, perceptron, seeded
from unlearn.errors import InputError, SingularHessianError
from unlearn.influence import AutogradInfluenceModule, CGInfluenceModule, KFACInfluenceModule
from unlearn.influence.preconditioner import risk_blocks
from unlearn.linalg import dense_matrix


def approximation(module):
    """K, from the inverse."""
    inverse = module.inverse_hvps(torch.eye(module._flat.size, dtype=torch.float64))
    return torch.linalg.inv(inverse) - module.damp * torch.eye(len(inverse), dtype=torch.float64)


def convolutional(outputs=B):
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(8, outputs))


def labels(loss, outputs=B):
    if isinstance(loss, nn.CrossEntropyLoss):
        return normal(N, outputs, seed=1).argmax(dim=1)
    return normal(N, outputs, seed=1) if isinstance(loss, nn.MSELoss) else (normal(N, outputs, seed=1) > 0).double()


@pytest.mark.extras
@given(
    dtype=st.sampled_from([torch.float64, torch.float32]),
    batch_size=st.integers(1, N + 1),
    damp=st.floats(1e-3, 1.0),
    l2=st.sampled_from([0.0, 0.05]),
    bias=st.booleans(),
    corrected=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_linear_model_under_squared_error_is_solved_exactly(dtype, batch_size, damp, l2, bias, corrected, seed):
    inputs, targets = normal(N, D, seed=seed, dtype=dtype), normal(N, B, seed=seed + 1, dtype=dtype)
    model = seeded(lambda: nn.Linear(D, B, bias=bias), dtype)
    # A chunk is one row: nothing depends on how rows are grouped.
    module = kfac(
        model, inputs, targets, damp, l2=l2, batch_size=batch_size, eigenvalue_correction=corrected, memory_mb=1e-3
    )
    rows = loader(inputs, targets)
    dense = AutogradInfluenceModule(model, Plain(l2=l2), rows, rows, "cpu", damp, gnh=True)
    vectors = normal(module._flat.size, 3, seed=seed, dtype=dtype)
    found = module.inverse_hvps(vectors)
    assert found.dtype == dtype
    # Condition numbers of up to some thousands, at the accuracy of the products.
    tolerance = {"rtol": 1e-9, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-2, "atol": 1e-3}
    torch.testing.assert_close(found, dense.inverse_hvps(vectors), **tolerance)
    torch.testing.assert_close(module.inverse_hvp(vectors[:, 1]), found[:, 1])
    assert module.solution.converged or dtype == torch.float32
    assert module.solution.statistics["relative_residual"] < (1e-10 if dtype == torch.float64 else 1e-4)


@pytest.mark.extras
def test_a_layer_along_a_sequence_is_exact_too():
    """Outputs (n, T, B): every place of a row is a term of the loss."""
    inputs, targets, model = normal(N, 5, D), normal(N, 5, B, seed=1), seeded(lambda: nn.Linear(D, B))
    module = kfac(model, inputs, targets)
    module.inverse_hvp(normal(module._flat.size))
    assert module.solution.converged


@pytest.mark.extras
@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()])
def test_the_blocks_are_products_of_the_factors(loss):
    """Against A and S of each layer from dense Jacobians of the outputs in the layer's outputs."""
    inputs, targets, model = normal(N, D), labels(loss), seeded(perceptron)
    module = kfac(model, inputs, targets, loss=loss)
    hidden, outputs = model[0](inputs), model(inputs)
    with_one = [torch.cat([x, torch.ones(N, 1).double()], dim=1) for x in (inputs, hidden.tanh())]
    pairs = zip(outputs, targets, strict=True)
    curvature = torch.stack([hessian(lambda f, y=y: loss(f[None], y[None]))(f) for f, y in pairs])
    jacobians = [torch.stack([jacrev(model[1:])(h) for h in hidden]), torch.eye(B).double().expand(N, B, B)]
    expected = torch.block_diag(*(factored(a, j, curvature) for a, j in zip(with_one, jacobians, strict=True)))
    torch.testing.assert_close(approximation(module), expected, rtol=1e-8, atol=1e-10)


def factored(inputs, jacobian, curvature):
    """`A ⊗ S` in the order of the parameters: weight (h, d) row by row, then bias (h,)."""
    gram = inputs.T @ inputs / N
    signal = torch.einsum("nbh,nbc,ncg->hg", jacobian, curvature, jacobian) / N
    h, d = len(signal), len(gram)
    position = torch.arange(h * d).reshape(h, d)
    order = torch.cat([position[:, :-1].flatten(), position[:, -1]])
    return torch.kron(signal.contiguous(), gram)[order][:, order].detach()


@pytest.mark.extras
def test_a_convolution_is_a_layer_along_its_patches():
    """The same network with the convolution written as a linear layer on unfolded patches has the same K."""
    images, targets, network = normal(N, 1, 4, 4), normal(N, B, seed=1), seeded(convolutional)
    patches = nn.functional.unfold(images, 3, padding=1, stride=2).mT
    places = nn.Sequential(nn.Linear(9, 2), nn.Tanh(), Channels(), nn.Linear(8, B)).double()
    with torch.no_grad():
        for own, other in zip(places.parameters(), network.parameters(), strict=True):
            own.copy_(other.reshape(own.shape))
    torch.testing.assert_close(places(patches), network(images))
    found = [approximation(kfac(*given, targets)) for given in ((network, images), (places, patches))]
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-10)


class Channels(nn.Module):
    def forward(self, inputs):
        return inputs.mT.flatten(1)


@pytest.mark.extras
def test_classes_along_a_sequence_are_rows_of_their_own():
    inputs, model, loss = normal(N, 4, D), seeded(lambda: nn.Linear(D, B)), nn.CrossEntropyLoss()
    picked = normal(N, 4, B, seed=1).argmax(dim=2)

    class Sequence(Plain):
        def train_outputs(self, model, batch):
            return super().train_outputs(model, batch).mT

        def test_loss(self, model, params, batch):
            return self.loss(model(batch[0]).mT, batch[1])

    rows = loader(inputs, picked)
    together = KFACInfluenceModule(model, Sequence(loss), rows, rows, "cpu", 0.1, loss_function=loss)
    apart = kfac(model, inputs.reshape(-1, D), picked.reshape(-1), loss=loss)
    torch.testing.assert_close(approximation(together), approximation(apart), rtol=1e-8, atol=1e-10)


@pytest.mark.extras
@pytest.mark.parametrize(
    ("loss", "soft"),
    [
        (nn.CrossEntropyLoss(label_smoothing=0.1), normal(N, B, seed=1).softmax(dim=1)),
        (nn.BCEWithLogitsLoss(), normal(N, B, seed=1).sigmoid()),
    ],
)
def test_soft_labels_have_the_curvature_of_hard_ones(loss, soft):
    inputs, model = normal(N, D), seeded(perceptron)
    found = [approximation(kfac(model, inputs, targets, loss=loss)) for targets in (soft, labels(loss))]
    torch.testing.assert_close(*found)


@pytest.mark.extras
def test_random_draws_tend_to_the_exact_factors():
    inputs, targets = normal(4000, D), normal(4000, B, seed=1)
    found = [approximation(kfac(seeded(perceptron), inputs, targets, fisher_type=kind)) for kind in ("mc", "type-2")]
    # One draw of B = 3 normal numbers a row: sqrt(2 / 4000) per entry of S.
    assert 0 < float((found[0] - found[1]).norm() / found[1].norm()) < 0.1


@pytest.mark.extras
def test_the_correction_gives_the_curvature_in_the_eigenvectors():
    """EK-FAC has the trace of the Gauss-Newton matrix and is closer to its blocks than K-FAC."""
    inputs, targets, model = normal(N, D), labels(nn.CrossEntropyLoss()), seeded(perceptron)
    plain, corrected = (
        kfac(model, inputs, targets, loss=nn.CrossEntropyLoss(), eigenvalue_correction=kind) for kind in (False, True)
    )
    curvature = dense_matrix(plain.operator(gauss_newton=True))
    first = sum(p.numel() for p in model[0].parameters())
    blocks = torch.block_diag(curvature[:first, :first], curvature[first:, first:])
    torch.testing.assert_close(approximation(corrected).trace(), curvature.trace(), rtol=1e-8, atol=0.0)
    assert (approximation(corrected) - blocks).norm() < (approximation(plain) - blocks).norm()


def trained(model, inputs, targets, steps=200):
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimiser.step()
    return model


@pytest.mark.extras
@pytest.mark.parametrize(("make", "shape"), [(lambda: perceptron(16), (D,)), (convolutional, (1, 4, 4))])
@pytest.mark.parametrize("corrected", [False, True])
def test_scores_order_rows_as_gauss_newton_does(make, shape, corrected):
    """At a damping of the mean curvature; K leaves out what couples layers, so never exactly."""
    inputs = normal(300, *shape)
    targets = torch.sin(inputs.flatten(1)[:, :D] @ normal(D, B, seed=2)) + 0.3 * normal(300, B, seed=3)
    model = trained(seeded(make), inputs[:250], targets[:250])
    train, test = loader(inputs[:250], targets[:250]), loader(inputs[250:], targets[250:])
    exact = CGInfluenceModule(model, Plain(l2=1e-4), train, test, "cpu", 1.0, gnh=True)
    damp = float(dense_matrix(exact.operator(gauss_newton=True)).diagonal().mean())
    exact.damp = damp
    module = KFACInfluenceModule(
        model, Plain(l2=1e-4), train, test, "cpu", damp, loss_function=nn.MSELoss(), eigenvalue_correction=corrected
    )
    rows = range(250), range(50)
    wanted, found = exact.influences(*rows), module.influences(*rows)
    without = module.train_loss_grads(rows[0]) @ module.test_loss_grad(rows[1])
    correlation, of_gradients = (spearmanr(scores, wanted).statistic for scores in (found, without))
    assert correlation > 0.95
    assert 1 - correlation < 0.5 * (1 - of_gradients)
    assert module.solution.status == "approximate"
    residual = exact.operator(True, damp).matvec(module.stest(rows[1])) - module.test_loss_grad(rows[1])
    assert module.solution.statistics["relative_residual"] == pytest.approx(
        float(residual.norm() / module.test_loss_grad(rows[1]).norm()), rel=1e-9
    )


@pytest.mark.extras
def test_the_block_preconditioner_has_the_same_blocks():
    """Exactly in the last layer, up to its random signs elsewhere."""
    inputs, targets, model = normal(2000, D), normal(2000, B, seed=1), seeded(perceptron)
    module = kfac(model, inputs, targets, l2=0.05)
    apply = risk_blocks(module.risk, module._flat.theta)(module.damp)
    eye = torch.eye(module._flat.size, dtype=torch.float64)
    own, other = torch.linalg.inv(apply(eye)), torch.linalg.inv(module.inverse_hvps(eye))
    first = sum(p.numel() for p in model[0].parameters())
    torch.testing.assert_close(own[first:, first:], other[first:, first:], rtol=1e-8, atol=1e-10)
    # 8 sign vectors for each of 2000 rows.
    assert (own - other)[:first, :first].norm() < 0.02 * other[:first, :first].norm()


@pytest.mark.extras
def test_frozen_parameters_have_no_block():
    inputs, targets = normal(N, D), normal(N, B, seed=1)
    model = seeded(lambda: nn.Sequential(nn.LayerNorm(D), perceptron()))
    model[0].requires_grad_(False)
    model[1][0].bias.requires_grad_(False)
    model[1][2].weight.requires_grad_(False)
    for corrected in (False, True):
        module = kfac(model, inputs, targets, eigenvalue_correction=corrected)
        curvature = dense_matrix(module.operator(gauss_newton=True))[-B:, -B:]
        torch.testing.assert_close(approximation(module)[-B:, -B:], curvature, rtol=1e-8, atol=1e-10)


@pytest.mark.extras
def test_factors_follow_the_parameters():
    inputs, targets, model = normal(N, D), normal(N, B, seed=1), seeded(perceptron)
    module, vector = kfac(model, inputs, targets), normal(5 * D + 5 + 5 * B + B)
    before = module.inverse_hvp(vector)
    assert torch.equal(module.inverse_hvp(vector), before)
    with torch.no_grad():
        model[2].weight.mul_(2.0)
    after = module.inverse_hvp(vector)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, kfac(model, inputs, targets).inverse_hvp(vector))
    assert all(not layer._forward_hooks and not layer._forward_pre_hooks for layer in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.extras
def test_columns_and_zeros():
    inputs, targets = normal(N, D), normal(N, B, seed=1)
    module = kfac(seeded(perceptron), inputs, targets)
    vectors = normal(module._flat.size, 3)
    vectors[:, 1] = 0.0
    found = module.inverse_hvps(vectors)
    assert not found[:, 1].any()
    assert torch.isfinite(torch.tensor(module.solution.statistics["relative_residual"]))
    torch.testing.assert_close(torch.stack([module.inverse_hvp(v) for v in vectors.T], dim=1), found)
    with pytest.raises(InputError, match="vec: expected shape"):
        module.inverse_hvp(vectors[1:, 0])


@pytest.mark.extras
def test_what_is_no_module_is_refused():
    rows = loader(normal(N, D), normal(N, B, seed=1))
    with pytest.raises(InputError, match=r"expected a trained torch\.nn\.Module, got function"):
        KFACInfluenceModule(lambda x: x, Plain(), rows, rows, "cpu", 0.1, loss_function=nn.MSELoss())


@pytest.mark.extras
@pytest.mark.parametrize("corrected", [False, True])
def test_a_singular_curvature_is_refused(corrected):
    inputs = normal(N, D)
    inputs[:, 1] = inputs[:, 0]
    module = kfac(seeded(lambda: nn.Linear(D, B)), inputs, normal(N, B, seed=1), 0.0, eigenvalue_correction=corrected)
    with pytest.raises(SingularHessianError, match=r"damping 0 leaves it singular to rounding\. Pass a damp"):
        module.inverse_hvp(normal(module._flat.size))
