"""Training (needs the extra ``torch``)."""
