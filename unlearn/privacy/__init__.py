"""Leakage: attacks on releases, forecasters and unlearnt models."""
