"""Probabilities study."""
