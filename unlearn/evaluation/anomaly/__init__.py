"""How well detectors of anomalies do: scores that are kept, thresholds chosen on validation, metrics on test."""
