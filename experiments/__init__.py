"""Experiments: thin Hydra programs over the library."""
