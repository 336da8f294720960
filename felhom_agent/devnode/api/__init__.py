"""What the API of the embedded node answers."""
