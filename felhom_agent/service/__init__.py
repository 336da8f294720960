"""What a host's service needs around its work."""
