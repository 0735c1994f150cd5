"""Studies of the project's own models and methods; not installed."""
