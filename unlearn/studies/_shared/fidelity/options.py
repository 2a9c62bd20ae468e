"""How fidelity is measured."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn.errors import InputError


@dataclass(frozen=True)
class FidelityOptions:
    """How fidelity is measured.

    Attributes:
        top_k: largest steps of a profile that count as its peaks.
        n_bins: bins of Jensen-Shannon distances, at quantiles of real training profiles.
        n_clusters: clusters of the mixture.
        min_members: profiles that each side must have in a cluster to be compared inside it, and at all.
        n_divisions: random divisions of all households that show how far the floor varies.
        max_profiles: profiles a side that are compared at most; more are sampled.
    """

    top_k: int = 3
    n_bins: int = 20
    n_clusters: int = 8
    min_members: int = 50
    n_divisions: int = 5
    max_profiles: int = 20_000

    def __post_init__(self) -> None:
        least = {"top_k": 1, "n_bins": 2, "n_clusters": 2, "min_members": 2, "n_divisions": 0, "max_profiles": 2}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                raise InputError(f"{name}: expected a whole number of at least {low}, got {value!r}.")
