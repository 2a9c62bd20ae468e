"""Products with blocks against products with their columns, in any precision."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from tests.linalg.test_solvers import Matrix
from unlearn.linalg import GaussNewtonOperator, GramOperator, HessianOperator, dense_matrix, products
from unlearn.linalg.operators import CHUNK


def network(dtype=torch.float64):
    """Outputs of a small network as a function of its flat parameters, those parameters, and inputs."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)
    shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
    inputs = torch.randn(20, 3, dtype=dtype)

    def outputs(theta):
        pieces = theta.split([shape.numel() for shape in shapes.values()])
        named = {n: piece.reshape(s) for (n, s), piece in zip(shapes.items(), pieces, strict=True)}
        return functional_call(module, named, (inputs,))

    return outputs, torch.cat([p.detach().reshape(-1) for p in module.parameters()])


def operators(dtype=torch.float64):
    outputs, theta = network(dtype)
    design = torch.randn(30, 4, dtype=torch.float64)
    return {
        "hessian": HessianOperator(lambda point: outputs(point).square().sum(), theta, 0.3),
        "linear": HessianOperator(lambda point: point.sum(), theta, 0.3),
        "gauss-newton": GaussNewtonOperator(outputs, theta, torch.rand(20, 1, dtype=dtype), 0.3),
        "gram": GramOperator(design, 3, torch.rand(30, dtype=torch.float64), 0.3),
    }


@given(name=st.sampled_from(["hessian", "linear", "gauss-newton", "gram"]), width=st.integers(0, 2 * CHUNK + 1))
def test_a_block_is_multiplied_as_its_columns_are(name, width):
    operator = operators()[name]
    block = torch.randn(operator.size, width, dtype=torch.float64)
    expected = torch.stack([operator.matvec(column) for column in block.T], dim=1) if width else block
    torch.testing.assert_close(products(operator, block), expected)
    if width:
        torch.testing.assert_close(operator.matmat(block), expected)


class Refused(torch.autograd.Function):
    """x³, which vmap does not know."""

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, slope):
        return slope * Square.apply(ctx.saved_tensors[0])

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * 3 * ctx.saved_tensors[0] ** 2


class Square(torch.autograd.Function):
    """3x², whose derivative asks for a value."""

    @staticmethod
    def forward(x):
        return 3 * x**2

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, slope):
        assert slope.sum().item() is not None
        return slope * 6 * ctx.saved_tensors[0]


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
def test_what_vmap_refuses_is_multiplied_column_by_column(kind):
    at = torch.linspace(0.5, 2.0, 4, dtype=torch.float64)
    if kind == "hessian":
        operator, expected = HessianOperator(lambda x: Refused.apply(x).sum(), at), torch.diag(6 * at)
    else:
        operator = GaussNewtonOperator(lambda x: Refused.apply(x)[:, None], at, torch.ones(4, 1, dtype=torch.float64))
        expected = torch.diag(9 * at**4)
    with pytest.raises(RuntimeError):
        operator._batched(torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(dense_matrix(operator), expected)
    torch.testing.assert_close(dense_matrix(operator), expected)  # and again, now that it knows


@pytest.mark.parametrize("name", ["hessian", "linear", "gauss-newton"])
def test_single_precision_operators_take_double_precision_blocks(name):
    block = torch.eye(operators()[name].size, dtype=torch.float64)
    torch.manual_seed(1)
    single = operators(torch.float32)[name]
    assert single.dtype == torch.float32
    found = products(single, block)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, found.T, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dense_matrix(single), found)


def test_wide_blocks_are_multiplied_in_pieces():
    widths = []

    class Noted(Matrix):
        def matmat(self, block):
            widths.append(block.shape[1])
            return self.values @ block

    values = torch.randn(2 * CHUNK + 3, 2 * CHUNK + 3, dtype=torch.float64)
    torch.testing.assert_close(dense_matrix(Noted(values)), values)
    assert widths == [CHUNK, CHUNK, 3]
