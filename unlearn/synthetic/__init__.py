"""Synthetic meter data: generators of daily profiles and of feeders with their meters."""
