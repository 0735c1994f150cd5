"""Studies that the project runs on itself; not installed."""
