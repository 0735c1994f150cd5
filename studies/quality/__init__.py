"""Quality study."""
