"""The main thread: all guests."""
