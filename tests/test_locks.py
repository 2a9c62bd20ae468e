"""The lock files: exact, in step with each other, and about the extras that pyproject.toml offers."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-extras.lock", "requirements-kfac.lock", "requirements-ray.lock")
#: Those that are installed on top of requirements.lock.
ADDED = ("requirements-extras.lock", "requirements-kfac.lock")
#: What the Ray launcher cannot take as it is elsewhere, and what only lint, types and shuffled runs need.
OTHER_ON_RAY = {"cloudpickle", "joblib", "python-dateutil"}
NOT_ON_RAY = {"ast-serialize", "librt", "mypy", "mypy-extensions", "pandas-stubs", "pathspec",
              "pytest-random-order", "ruff", "types-pyyaml", "types-tqdm"}  # fmt: skip


def name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return found[0].lower().replace("_", "-")


def pins(lock: str) -> dict[str, str]:
    lines = [line for line in (ROOT / lock).read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    found = {name(line): line.split("==")[1] for line in lines}
    assert len(found) == len(lines)
    return found


def test_extras_only_add() -> None:
    names = [package for lock in ("requirements.lock", *ADDED) for package in pins(lock)]
    assert len(names) == len(set(names))


def test_kfac_comes_without_torchvision() -> None:
    assert not pins("requirements-kfac.lock").keys() & {"torchvision", "backpack-for-pytorch"}
    assert "$(PIP_INSTALL) --no-deps -r requirements-kfac.lock" in (ROOT / "Makefile").read_text()


def test_the_environment_of_ray_differs_in_what_is_told() -> None:
    here, ray = pins("requirements.lock"), pins("requirements-ray.lock")
    assert {package for package in here if package in ray and ray[package] != here[package]} == OTHER_ON_RAY
    assert {package for package in here if package not in ray} <= NOT_ON_RAY


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements.lock", ["experiments", "dev", "joblib"]),
        (
            "requirements-extras.lock",
            ["slurm", "moreau", "private", "release", "federated", "mpc", "encrypted", "paillier", "anomaly"],
        ),
        ("requirements-kfac.lock", ["kfac"]),
        ("requirements-ray.lock", ["experiments", "joblib", "ray"]),
    ],
)
def test_every_requirement_is_pinned(lock: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]] if lock not in ADDED else []
    wanted += [requirement for extra in extras for requirement in project["optional-dependencies"][extra]]
    assert {name(requirement) for requirement in wanted} <= pins(lock).keys()
