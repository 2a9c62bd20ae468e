"""Differential privacy with the household as the unit: guarantees, accounting, private gradients and sums."""
