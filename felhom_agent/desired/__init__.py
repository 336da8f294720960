"""Where intent comes from."""
