"""Influence of any model: solves, products and scores beside the plain ways; a network of a million parameters."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.autograd.functional import hvp
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from experiments.app import Job
from experiments.benchmarks.timing import Timing, add_timing, add_ways, in_a_process, print_result
from unlearn.influence import CGInfluenceModule, PairObjective
from unlearn.records import RecordTable

#: The linear problem: columns, outputs and condition number of its Hessian.
COLUMNS, OUTPUTS, CONDITION = 140, 14, 3.5e4

#: Relative residual of the solves that are compared.
RTOL = 1e-10

#: Rows that a loader gives at once.
BATCH = 64


def time_influence(job: Job, table: RecordTable) -> None:
    """Time the linear problem in this process, the large network in processes of its own."""
    rows, scored = job.benchmark.influence_rows, job.benchmark.scored_rows
    X, Y = _linear_data(max(rows, scored), job.seed)
    model = nn.Linear(COLUMNS, OUTPUTS, dtype=torch.float64)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    _solves(table, model, X[:rows], Y[:rows], job.benchmark.repeats)
    _scores(table, model, X[:scored], Y[:scored], job.benchmark.repeats)
    _network(table, job)


def _solves(table: RecordTable, model: nn.Linear, X: Tensor, Y: Tensor, repeats: int) -> None:
    """One inverse-Hessian product, every way, against the closed form."""
    problem = f"{len(X)} x {COLUMNS} -> {OUTPUTS}"
    columns = {"part": "influence", "what": f"inverse-Hessian product, {problem}"}
    blocks, plain = (_module(model, X, Y, preconditioner=name) for name in ("block", "none"))
    fresh: list[CGInfluenceModule] = []
    side = blocks.test_loss_grad(range(len(X) // 10))
    exact, condition = _closed_form(X, side)
    table.add("condition", condition, "", method="CG with blocks", **columns)
    ways = {
        "CG with blocks": lambda: fresh[-1].inverse_hvp(side),
        "CG with blocks, built before": lambda: blocks.inverse_hvp(side),
        "CG without preconditioner": lambda: plain.inverse_hvp(side),
        "plain HVP + SciPy's CG": lambda: _plain_cg(model, X, Y, side),
    }
    add_ways(table, ways, repeats, exact, lambda: fresh.append(_module(model, X, Y, preconditioner="block")), **columns)
    columns["what"] = f"one Hessian product, {problem}"
    operator, loader = blocks.operator(), DataLoader(TensorDataset(X, Y), BATCH)
    ways = {
        "graph kept": lambda: operator.matvec(side),
        "a pass through the loader, as torch-influence": lambda: _loader_product(model, loader, side),
    }
    add_ways(table, ways, repeats, operator.matvec(side), **columns)


def _scores(table: RecordTable, model: nn.Linear, X: Tensor, Y: Tensor, repeats: int) -> None:
    """Scores of all rows with a solved vector, beside one backward pass per row."""
    module = _module(model, X, Y)
    vector = torch.randn(COLUMNS * OUTPUTS + OUTPUTS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ways = {
        "all rows at once": lambda: module.influences(range(len(X)), [0], vector),
        "one backward pass per row": lambda: _looped_scores(model, X, Y, vector),
    }
    exact = module.influences(range(len(X)), [0], vector)
    add_ways(table, ways, repeats, exact, part="influence", what=f"scores of {len(X)} rows, solved before")


def _network(table: RecordTable, job: Job) -> None:
    """Scores of a network's rows in single precision, judged by a tight solve in double precision."""
    given = ("experiments.benchmarks.any_model", job.benchmark.network_rows, job.benchmark.network_width)
    threads = job.benchmark.network_threads
    ours = in_a_process(*given, "float32", threads=threads)
    tight = in_a_process(*given, "float64", ours["damping"], threads=threads)
    what = f"scores of {given[1]} rows, {ours['parameters']:.0f} parameters"
    columns = {"part": "influence", "what": what, "method": "CG, Gauss-Newton, float32"}
    found, expected = np.array(ours.pop("scores")), np.array(tight.pop("scores"))
    add_timing(table, Timing(np.array([ours["seconds"]])), **columns)
    table.add("error", float(np.linalg.norm(found - expected) / np.linalg.norm(expected)), "relative", **columns)
    table.add("spearman", float(spearmanr(found, expected)[0]), "", **columns)
    units = {"peak_memory": "MB", "steps": "", "relative_residual": "", "damping": "", "damping_time": "s"}
    for metric, unit in units.items():
        table.add(metric, ours[metric], unit, **columns)
    columns["method"] = "the same solved to 1e-8 in float64"
    add_timing(table, Timing(np.array([tight["seconds"]])), **columns)


def score_network(n_rows: int, width: int, dtype: str, damping: float | None = None) -> dict[str, object]:
    """Train a network of two hidden layers for a few epochs and score its rows; seconds, steps and accuracy."""
    random = torch.Generator().manual_seed(0)
    X = torch.randn(n_rows + n_rows // 5, COLUMNS, generator=random)
    Y = torch.sin(X @ torch.randn(COLUMNS, OUTPUTS, generator=random) / COLUMNS**0.5)
    Y += 0.1 * torch.randn(Y.shape, generator=random)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(COLUMNS, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, OUTPUTS)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(4):
        for rows in torch.randperm(n_rows, generator=random).split(128):
            optimiser.zero_grad()
            mse_loss(model(X[rows]), Y[rows]).backward()
            optimiser.step()
    precise = dtype == "float64"
    model = model.double() if precise else model
    X, Y = X.to(getattr(torch, dtype)), Y.to(getattr(torch, dtype))
    loaders = [DataLoader(TensorDataset(X[part], Y[part]), BATCH) for part in (slice(n_rows), slice(n_rows, None))]
    start = time.perf_counter()
    module = CGInfluenceModule(
        model, PairObjective(mse_loss), *loaders, "cpu", damp="auto" if damping is None else damping, gnh=True,
        **({"rtol": 1e-8} if precise else {}),
    )  # fmt: skip
    chosen = time.perf_counter()
    scores = module.influences(range(n_rows), range(n_rows // 5))
    assert module.solution is not None
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": time.perf_counter() - start,
        "damping_time": chosen - start,
        "damping": module.damp,
        "steps": module.solution.statistics["steps"],
        "relative_residual": module.solution.statistics["relative_residual"],
        "scores": scores.tolist(),
    }


def _linear_data(n_rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows whose second moments have the condition number wanted."""
    random = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(n_rows, COLUMNS, generator=random, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(COLUMNS, COLUMNS, generator=random, dtype=torch.float64))[0]
    singular = torch.logspace(0, -0.5 * np.log10(CONDITION), COLUMNS, dtype=torch.float64)
    X = n_rows**0.5 * left * singular @ right
    return X, X @ torch.randn(COLUMNS, OUTPUTS, generator=random, dtype=torch.float64)


def _module(model: nn.Linear, X: Tensor, Y: Tensor, **options: object) -> CGInfluenceModule:
    loader = DataLoader(TensorDataset(X, Y), BATCH)
    return CGInfluenceModule(model, PairObjective(mse_loss), loader, loader, "cpu", damp=0.0, rtol=RTOL, **options)


def _closed_form(X: Tensor, side: Tensor) -> tuple[Tensor, float]:
    """The solution by a dense solve per output, and the condition number."""
    design = torch.cat([X, torch.ones_like(X[:, :1])], dim=1)
    gram = 2.0 / (OUTPUTS * len(X)) * design.T @ design
    block = torch.cat([side[: COLUMNS * OUTPUTS].reshape(OUTPUTS, COLUMNS), side[COLUMNS * OUTPUTS :, None]], dim=1)
    solved = torch.linalg.solve(gram, block.T).T
    return torch.cat([solved[:, :COLUMNS].reshape(-1), solved[:, COLUMNS]]), float(torch.linalg.cond(gram))


def _plain_cg(model: nn.Linear, X: Tensor, Y: Tensor, side: Tensor) -> Tensor:
    """Products by differentiating the gradient's graph again, in SciPy's conjugate gradients."""
    parameters = list(model.parameters())
    slopes = torch.autograd.grad(mse_loss(model(X), Y), parameters, create_graph=True)
    slope = torch.cat([part.reshape(-1) for part in slopes])

    def product(vector: np.ndarray) -> np.ndarray:
        parts = torch.autograd.grad(slope, parameters, torch.from_numpy(vector), retain_graph=True)
        return torch.cat([part.reshape(-1) for part in parts]).numpy()

    operator = LinearOperator((len(side), len(side)), product, dtype=np.float64)
    return torch.from_numpy(cg(operator, side.numpy(), rtol=RTOL)[0])


def _loader_product(model: nn.Linear, loader: DataLoader, vector: Tensor) -> Tensor:
    total = torch.zeros_like(vector)
    flat = torch.cat([model.weight.detach().reshape(-1), model.bias.detach()])
    for X, Y in loader:

        def loss(theta: Tensor, X: Tensor = X, Y: Tensor = Y) -> Tensor:
            weight, bias = theta[: COLUMNS * OUTPUTS].reshape(OUTPUTS, COLUMNS), theta[COLUMNS * OUTPUTS :]
            return mse_loss(nn.functional.linear(X, weight, bias), Y)

        total += hvp(loss, flat, vector)[1] * len(X)
    return total / len(loader.dataset)


def _looped_scores(model: nn.Linear, X: Tensor, Y: Tensor, vector: Tensor) -> Tensor:
    parameters, scores = list(model.parameters()), torch.empty(len(X), dtype=torch.float64)
    for row in range(len(X)):
        slopes = torch.autograd.grad(mse_loss(model(X[row : row + 1]), Y[row : row + 1]), parameters)
        scores[row] = torch.cat([slope.reshape(-1) for slope in slopes]) @ vector
    return scores / len(X)


if __name__ == "__main__":
    rows, width, dtype, *damping = sys.argv[1:]
    print_result(score_network(int(rows), int(width), dtype, *map(float, damping)))
