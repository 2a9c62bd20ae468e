"""Anomalies in meter readings: windows, LSTM-GAN and latent inversion, detectors to compare with, thresholds."""
