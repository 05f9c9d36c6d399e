"""Tasks: what is learned from a sample."""
