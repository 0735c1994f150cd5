"""Many pairs at once: bounded memory, resumable, on this machine or on a cluster."""
