"""Leakage of releases: attacks on them, beside the same attacks on releases whose leakage is known."""
