"""What must be survived or refused: real faults in real processes, for dlcourse and a plain script (fault_matrix.py)."""
