"""The reasons for a verdict in attribute words, tested by erasing what each word names."""
