"""Configuration: agent.toml, TOML that remembers its lines, and secrets."""
