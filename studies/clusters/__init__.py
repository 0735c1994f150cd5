"""How well faces are grouped into people, and by which way of grouping."""
