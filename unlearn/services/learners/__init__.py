"""Kinds of models that a registry keeps, each with how it is fitted and how it forgets."""
