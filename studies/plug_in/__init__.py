"""Plug in study."""
