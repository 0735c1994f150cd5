"""Words study."""
