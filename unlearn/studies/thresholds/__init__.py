"""Other thresholds for detectors that were judged, from their kept scores."""
