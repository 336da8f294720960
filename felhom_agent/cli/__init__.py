"""What a person types: one module per command, each with `add` (its arguments) and `run`."""
