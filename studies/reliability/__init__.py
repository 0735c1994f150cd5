"""Reliability study."""
