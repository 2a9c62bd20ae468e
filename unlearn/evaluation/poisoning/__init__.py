"""Poisoned training hours: detected without the truth, unlearnt, and priced."""
