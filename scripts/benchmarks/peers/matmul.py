"""The most that this machine does: fp32 matrix products of 2048 × 2048, in floating-point operations a second.

python -m scripts.benchmarks.peers.matmul
"""

import json
import time

import torch


def main(n: int = 2048, seconds: float = 2.0) -> None:
    a, b = torch.randn(n, n), torch.randn(n, n)
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    print(json.dumps({"operations_per_s": 2 * n**3 / best}))


if __name__ == "__main__":
    main()
