"""Names in messages exist: an argument, function or attribute that an error advises can be looked up."""

import ast
import builtins
import importlib
import inspect
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import unlearn
from unlearn.errors import UnlearnError
from unlearn.influence import AutogradInfluenceModule, CGInfluenceModule, LiSSAInfluenceModule, PairObjective
from unlearn.linalg import IhvpOptions
from unlearn.unlearning.trained import TrainedModule

ROOT = Path(unlearn.__file__).parent

#: Arguments and functions of others that messages advise, and files and languages that they speak of.
OTHERS = {
    "drop_last": DataLoader, "shuffle": DataLoader, "padding_mode": nn.Conv2d, "reduction": nn.MSELoss,
    "maxiter": None, "savecase": None,
    "class": None, "typeof": None, "length": None, "coalesce": None, "RAISE": None, "COUNT": None,  # HTML and SQLite
}  # fmt: skip

ARGUMENT = re.compile(r"(?<![\w/])([A-Za-z_][\w.]*)=(?![=\s])")
CALL = re.compile(r"(?<![\w/])([A-Za-z_][\w.]*)\(")


def names_of_the_library() -> set[str]:
    """Functions, classes, arguments, attributes with a type, modules and keys of configurations."""
    names = set()
    for path in ROOT.rglob("*.py"):
        names |= set(path.relative_to(ROOT.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    for path in (ROOT.parent / "conf").rglob("*.yaml"):
        names |= {path.stem, path.parent.name, *re.findall(r"^\s*(\w+):", path.read_text(), re.MULTILINE)}
    return names


def messages() -> list[tuple[str, str]]:
    """Texts of errors and warnings, with their places; also those that are put together before."""
    found = []
    for path in ROOT.rglob("*.py"):
        for statement in ast.walk(ast.parse(path.read_text())):
            if isinstance(statement, ast.Raise | ast.Assign | ast.Return) or (
                isinstance(statement, ast.Call) and getattr(statement.func, "attr", "") == "warn"
            ):
                for node in ast.walk(statement):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                        found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node.value))
    return sorted(set(found))


def is_of_others(name: str) -> bool:
    """Whether a name, dotted or not, is one of PyTorch's, pandas', or of what Python has built in."""
    *path, last = name.removeprefix("torch.").removeprefix("nn.").split(".")
    for place in (["torch", *path], ["torch", "nn", *path]):
        try:
            if hasattr(importlib.import_module(".".join(place)), last):
                return True
        except ImportError:
            continue
    return any(hasattr(owner, last) for owner in (nn.Module, torch.Tensor, pd.DatetimeIndex, pd.DataFrame, builtins))


def test_arguments_and_functions_in_messages_exist() -> None:
    known, missing = names_of_the_library(), []
    for place, text in messages():
        arguments = [name for name in ARGUMENT.findall(text) if not set(name.split(".")) <= known | set(OTHERS)]
        calls = [
            name
            for name in CALL.findall(text)
            if name.split(".")[-1] not in known | set(OTHERS) and not is_of_others(name)
        ]
        missing += [f"{place}: {name} in {text[:90]!r}" for name in arguments + calls]
    assert not missing, "\n".join(missing)


def test_arguments_of_others_exist() -> None:
    for name, owner in OTHERS.items():
        assert owner is None or name in inspect.signature(owner).parameters


X = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LINEAR = nn.Linear(3, 1).double().requires_grad_(True)
LOADER = DataLoader(TensorDataset(X, X.sum(dim=1, keepdim=True) + 1), 8)

#: Ways to a Hessian, as a function of the damping.
ENTRIES = {
    "autograd": (lambda damp: AutogradInfluenceModule(LINEAR, PairObjective(F.l1_loss), LOADER, LOADER, "cpu", damp)),
    "cg": (lambda damp: CGInfluenceModule(LINEAR, PairObjective(F.l1_loss), LOADER, LOADER, "cpu", damp).stest([0])),
    "nystrom": (
        lambda damp: CGInfluenceModule(
            LINEAR, PairObjective(F.l1_loss), LOADER, LOADER, "cpu", damp, preconditioner="nystrom"
        ).stest([0])
    ),
    "lissa": (
        lambda damp: LiSSAInfluenceModule(LINEAR, PairObjective(F.l1_loss), LOADER, LOADER, "cpu", damp, 1, 2, 10.0)
    ),
    "trained": (lambda damp: TrainedModule(LINEAR, F.l1_loss, LOADER, LOADER, damp=damp).influences()),
    "forget": (lambda damp: TrainedModule(LINEAR, F.l1_loss, LOADER, LOADER, damp=damp).forget([1])),
}


@pytest.mark.parametrize("damp", ["auto", 0.0])
@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_a_loss_without_curvature_gets_a_remedy_that_the_caller_has(entry: str, damp: float | str) -> None:
    """The absolute error of a linear model has no second derivative."""
    if (entry, damp) == ("lissa", 0.0):
        return
    with pytest.raises(UnlearnError) as refused:
        ENTRIES[entry](damp)
    said = str(refused.value)
    if "zero" in said:
        assert "as an absolute error does" in said
        assert "damp=... of an influence module" in said
    else:
        assert re.search(r"Raise damp|larger damp", said)
    named = set(ARGUMENT.findall(said.replace("IhvpOptions(damping=...)", "")))
    assert named <= {
        name
        for owner in (AutogradInfluenceModule, CGInfluenceModule, TrainedModule)
        for name in inspect.signature(owner).parameters
    }
    assert "damping" in inspect.signature(IhvpOptions).parameters
