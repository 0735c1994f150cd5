"""Hostile input: cases that were found, and seeded generators of more."""
