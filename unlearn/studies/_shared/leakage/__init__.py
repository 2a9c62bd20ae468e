"""Attacks on releases, beside the same attacks on releases whose leakage is known."""
