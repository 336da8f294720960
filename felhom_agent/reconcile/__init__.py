"""what differs, what to do about it, and doing it, one guest at a time."""
