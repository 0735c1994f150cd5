"""Strangers study."""
