"""Certificates of deletion: what they must say, how they are written, read and verified."""
