"""Grid cases, the dispatch and redispatch programs, and what a forecast costs on them."""

from unlearn.grid.case import GridCase, build_case, load_case
from unlearn.grid.compiled import CompiledProgram, QpSolutions
from unlearn.grid.cost import CostBreakdown, OperatingCost, price_hours
from unlearn.grid.exact import ExactLayer
from unlearn.grid.layers import ConvexLayer
from unlearn.grid.network import Network, build_network
from unlearn.grid.programs import Program, dispatch_program, redispatch_program

__all__ = [
    # the network
    "GridCase", "Network", "build_case", "build_network", "load_case",
    # the programs and how they are solved
    "CompiledProgram", "ConvexLayer", "ExactLayer", "Program", "QpSolutions", "dispatch_program", "redispatch_program",
    # money
    "CostBreakdown", "OperatingCost", "price_hours",
]  # fmt: skip
