"""The HTTPS server of the embedded node."""
