"""What dlcourse costs, measured beside others: whole processes, in turn, several times (scripts/benchmark.py)."""
