"""The bench: which explanation tells the truth about a network, measured the same way for all methods."""
