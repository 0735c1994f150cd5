"""Readers of face data sets in the formats in which they are handed around."""
