"""What must be survived or refused: real faults in real processes, for dlcourse and for a plain script."""
