"""What a person chooses to accompany a run: progress, the moving boundary, pruning."""
