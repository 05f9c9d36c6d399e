"""Optional callbacks: progress, the decision boundary while training, pruning."""
