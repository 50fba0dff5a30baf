"""Which samples to remove, and when to stop."""
