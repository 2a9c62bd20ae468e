"""Household meters: daily profiles with labels, their readers, and the file format that releases share."""
