"""Utility of releases: train on them, test on real households, and price the forecasts on a grid."""
