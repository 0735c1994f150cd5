"""Galleries: many faces on disk, searched exactly and with reasons."""
