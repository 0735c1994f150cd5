"""What several test modules share: small networks, pictures on disk, and the command line."""
