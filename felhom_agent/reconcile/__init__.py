"""A lane: one guest, one action at a time, and the recovery of what was left in flight."""
