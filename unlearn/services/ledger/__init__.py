"""Signed rows that can be added and never changed, with their encoding, their keys, their database and its head."""
