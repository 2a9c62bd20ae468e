"""Distances of releases to real households, beside those of real households to each other."""
