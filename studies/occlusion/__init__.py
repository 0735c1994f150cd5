"""Occlusion study."""
