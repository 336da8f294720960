"""All PVE API access: nothing else here speaks HTTP to a node."""
