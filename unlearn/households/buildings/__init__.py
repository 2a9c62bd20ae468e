"""Hourly meter readings of buildings with a label per hour: readers, gaps, injected anomalies, splits by building."""
