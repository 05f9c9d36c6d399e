"""A run: its directory, its training and test, its resume, and what a trained run is used for."""
