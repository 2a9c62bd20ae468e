"""Grid cases, the dispatch and redispatch programs, and what a forecast costs on them."""

from typing import TYPE_CHECKING

from unlearn.registry import lazily

if TYPE_CHECKING:
    from unlearn.grid.case import GridCase, build_case, load_case
    from unlearn.grid.cost import CostBreakdown, OperatingCost, price_hours
    from unlearn.grid.layers import (
        CompiledProgram,
        ConvexLayer,
        LayerPricer,
        MoreauLayer,
        Program,
        dispatch_program,
        redispatch_program,
    )
    from unlearn.grid.options import BACKENDS, CostOptions
    from unlearn.grid.programs import Network, ParametricQp, QpSolutions, build_network, dispatch_qp, redispatch_qp
    from unlearn.grid.region_cache import RegionStatistics
else:
    __getattr__, __dir__ = lazily(__name__)

__all__ = [
    # the network
    "GridCase", "Network", "build_case", "build_network", "load_case",
    # the programs, as CVXPY problems and as matrices
    "CompiledProgram", "ParametricQp", "Program", "QpSolutions",
    "dispatch_program", "dispatch_qp", "redispatch_program", "redispatch_qp",
    # the reference ways to solve and differentiate them
    "ConvexLayer", "LayerPricer", "MoreauLayer",
    # money
    "BACKENDS", "CostBreakdown", "CostOptions", "OperatingCost", "RegionStatistics", "price_hours",
]  # fmt: skip
