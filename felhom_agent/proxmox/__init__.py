"""The only door to PVE: nobody else here speaks HTTP to a node."""
