"""What is learned from a row: one file a kind of task."""
