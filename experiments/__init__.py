"""Experiments: thin Hydra programs over the library; they need the extra `experiments`."""

from unlearn.checks import require_package

require_package("experiments", "hydra", '"unlearn[experiments]"')
