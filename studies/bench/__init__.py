"""Bench study."""
