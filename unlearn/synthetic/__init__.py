"""Synthetic meter data: generators of daily profiles and of feeders with their meters."""

from unlearn.synthetic.baselines import independent_gaussian, resampled, shuffled_hours

__all__ = [
    # baselines
    "independent_gaussian", "resampled", "shuffled_hours",
]  # fmt: skip
