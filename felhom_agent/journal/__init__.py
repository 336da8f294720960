"""The agent's memory: what it was about to do, began, and brought to an end."""
