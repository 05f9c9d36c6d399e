"""Check and train trials that differ only in numbers, and write a run directory for each."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from dlcourse.config.compose import Composed
from dlcourse.config.gate import check_classes
from dlcourse.errors import Refused
from dlcourse.runs.building import quieten
from dlcourse.runs.directory import environment
from dlcourse.sweeps.compatibility import ALTERNATIVE, check
from dlcourse.sweeps.vectorized import VectorizedTraining
from dlcourse.sweeps.vectorized_trial import VectorizedTrial

WRITERS = 8  # directories written in parallel, which mostly waits for the disk


def train_together(trials: Sequence[tuple[Composed, Path]]) -> None:
    """Train trials together; a common checkpoint beside their directories lets them be resumed.

    Refused (2) names what cannot be vectorised. Interrupted: the checkpoint is of the end of the last epoch or, if
    epochs are short, of an earlier one.
    """
    quieten()
    trees = check([composed for composed, _ in trials])
    check_classes(trees[0], trials[0][0].overrides.packages)
    for _, path in trials:
        if (path / "checkpoints" / "last.ckpt").exists() and not (path / "metrics.json").exists():
            raise Refused(f"{path} was started on its own and would be lost; {ALTERNATIVE}")
    training = VectorizedTraining([VectorizedTrial(*trial, tree) for trial, tree in zip(trials, trees, strict=True)])
    training.fit()
    publish(training)


def publish(training: Any) -> None:
    """Write a run directory for each trial, replacing any that are incomplete."""
    done = [k for k, trial in enumerate(training.trials) if trial.status == "finished"]
    rest = {name: value[done] for name, value in training.best_rest.items()}
    test = dict(zip(done, training.metrics("test", training.best_w[done], rest, done), strict=True)) if done else {}
    place = environment(str(training.device), torch.get_num_threads())

    def write_trial(k: int) -> None:
        trial = training.trials[k]
        if (trial.path / "metrics.json").exists():
            return
        if trial.path.exists():
            shutil.rmtree(trial.path)
        weights = training.stacked.state_dict(
            training.best_w[k], {name: w[k] for name, w in training.best_rest.items()}
        )
        rate = len(training.sets["train"]) * trial.epochs / training.seconds
        cost: dict[str, Any] = {"seconds": round(training.seconds, 3), "samples_per_s": round(rate, 1)}
        cost |= {"note": training.data.note} if training.data.note else {}
        trial.publish(weights, test.get(k, {}), cost, place)

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(write_trial, range(len(training.trials))))
    training.path.unlink(missing_ok=True)
