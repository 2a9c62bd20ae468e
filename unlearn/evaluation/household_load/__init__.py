"""Forecasters of single households: their error, what they cost on the grid, whether they give households away."""
