"""Differentially private statistics of meters: queries, mechanisms, budgets, what answers are worth."""
