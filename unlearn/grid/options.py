"""What prices hours on a grid, without what it takes to import the solvers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.checks import require_choice

if TYPE_CHECKING:
    from unlearn.grid.cost import OperatingCost

#: What solves and differentiates the programs.
BACKENDS = ("batched", "moreau", "cvxpylayers")
#: How cvxpylayers differentiates. "lsqr" is its default and the published code's, and wrong on these programs.
LAYER_DERIVATIVES = ("dense", "lsqr")
#: With the power transfer distribution factors (angles eliminated), or with the voltage angles as published.
FORMS = ("ptdf", "angle")
#: Whether a bus may shed more than its load, which is then surplus stored elsewhere.
BOUNDS = ("published", "shed_at_most_load")


@dataclass(frozen=True)
class CostOptions:
    """A grid and what prices hours on it.

    Attributes:
        case: a bundled case, or the path of one's own YAML file.
        backend: one of `BACKENDS`: "batched" is exact and fast, the others are there for comparison.
        derivative: of cvxpylayers, one of `LAYER_DERIVATIVES`.
        form: of the programs that cvxpylayers solves, one of `FORMS`.
        bounds: one of `BOUNDS`.
    """

    case: str = "ieee14"
    backend: str = "batched"
    derivative: str = "dense"
    form: str = "ptdf"
    bounds: str = "published"

    def __post_init__(self) -> None:
        require_choice("backend", self.backend, BACKENDS)
        require_choice("derivative", self.derivative, LAYER_DERIVATIVES)
        require_choice("form", self.form, FORMS)
        require_choice("bounds", self.bounds, BOUNDS)

    def build(self) -> OperatingCost:
        """The grid's programs and what prices them.

        Raises:
            InputError: what `load_case` and `OperatingCost` refuse.
        """
        from unlearn.grid.cost import OperatingCost  # torch takes a second to import

        return OperatingCost(**asdict(self))


def bundled_folder() -> Path:
    """Folder of the bundled cases: package data of an installed wheel, else the checkout's `grids/`."""
    package = Path(__file__).resolve().parents[1]
    return package / "grids" if (package / "grids").is_dir() else package.parent / "grids"


#: The bundled cases.
GRIDS = {path.stem: CostOptions(path.stem) for path in sorted(bundled_folder().glob("*.yaml"))}
