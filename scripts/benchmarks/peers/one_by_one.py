"""The trials of a grid as commands of their own, one after another.

python -m scripts.benchmarks.peers.one_by_one FOLDER RATE,RATE,… SEEDS WORDS…
"""

import json
import subprocess
import sys
from pathlib import Path

from dlcourse.config.groups import CHECKOUT


def main(folder: str, rates: str, seeds: str, *words: str) -> None:
    accuracies = []
    for rate in rates.split(","):
        for seed in range(int(seeds)):
            run = Path(folder, f"{rate}_{seed}")
            own = [f"optimizer.lr={rate}", f"seed={seed}", f"run_dir={run}"]
            command = [sys.executable, str(CHECKOUT / "train.py"), *words, *own]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            accuracies.append(json.loads((run / "metrics.json").read_text("utf-8"))["test/acc"])
    print(json.dumps({"test/acc": accuracies}))


if __name__ == "__main__":
    main(*sys.argv[1:])
