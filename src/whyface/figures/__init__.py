"""Figures of explanations and results."""
