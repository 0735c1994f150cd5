"""Files and folders, and nothing of what is in them."""
