"""Quantisation study."""
