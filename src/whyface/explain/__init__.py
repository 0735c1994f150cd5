"""Explanations of a verdict."""
