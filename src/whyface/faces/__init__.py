"""Photos in, aligned faces out."""
