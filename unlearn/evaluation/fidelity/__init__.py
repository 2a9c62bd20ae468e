"""Fidelity of releases: distances of profiles to held-out households, beside those of real households."""
