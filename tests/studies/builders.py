"""A small network problem that the tests of the full-network study share."""

from unlearn.data import load_dataset
from unlearn.forecasters import TrainingOptions
from unlearn.studies.full_network.problem import NetworkProblem

#: Few steps, large ones: a network that has learnt something in a tenth of a second.
QUICK = TrainingOptions(epochs=4, batch_size=16, learning_rate=3e-3)


def small_problem(n_rows: int = 40, n_loads: int = 2) -> NetworkProblem:
    """A CNN on rows of synthetic loads."""
    dataset = load_dataset("synthetic", n_hours=300, n_loads=n_loads)
    return NetworkProblem.draw(dataset, n_rows, "cnn", QUICK)
