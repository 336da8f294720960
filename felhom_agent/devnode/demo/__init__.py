"""The node of the demo."""
