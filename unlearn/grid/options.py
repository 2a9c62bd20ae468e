"""Which grid, and what prices hours on it: options that load nothing, and the bundled cases by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GridOptions:
    """A grid and its pricing; see `unlearn.OperatingCost`.

    Attributes:
        case: a bundled case such as ieee14, or the path of a YAML, .m or .mat file.
        backend: batched (exact, fast), or for comparison moreau, or cvxpylayers (the published way).
        derivative: of cvxpylayers: dense, or its default lsqr, which is wrong on these programs.
        form: of the programs that cvxpylayers solves: ptdf, or angle as published.
        bounds: published, or shed_at_most_load.
    """

    case: str = "ieee14"
    backend: str = "batched"
    derivative: str = "dense"
    form: str = "ptdf"
    bounds: str = "published"


def bundled_folder() -> Path:
    """Folder of the bundled cases: package data of an installed wheel, else the checkout's `grids/`."""
    package = Path(__file__).resolve().parents[1]
    return package / "grids" if (package / "grids").is_dir() else package.parent / "grids"


#: The bundled cases.
GRIDS = {path.stem: GridOptions(path.stem) for path in sorted(bundled_folder().glob("*.yaml"))}
