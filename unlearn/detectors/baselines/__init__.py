"""Detectors to compare with: level, last week, day-ahead forecasts, and outliers among windows."""
