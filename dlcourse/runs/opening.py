"""The directory of a run that is about to train: a new one, or an old one locked and set back to its checkpoint."""

import os
import sys
from pathlib import Path
from typing import Any

from dlcourse.config.compose import Composed
from dlcourse.errors import CHECKPOINT, Refused
from dlcourse.runs.building import first_process
from dlcourse.runs.checkpoint_file import LAST, Checkpoint, has_checkpoint, usable
from dlcourse.runs.directory import RunDirectory
from dlcourse.runs.weights import differences

#: What a checkpoint must hold to be continued from.
PARTS = (
    *("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "hyper_parameters"),
    *("global_step", "rng", "rows", "stopped"),
)


def prepare_resume(run: RunDirectory, composed: Composed, model: Any) -> Checkpoint | None:
    """The checkpoint to continue from (None: from the start); nothing is changed before it is found to fit.

    Raises Refused for a checkpoint of another model or program, and for a run that early stopping ended.
    """
    assert run.path is not None
    folder = run.path / "checkpoints"
    checkpoint = None
    state: dict[str, Any] = {"rows": 0, "global_step": 0}
    if has_checkpoint(run.path):
        checkpoint, complaints = usable(folder)
        for complaint in complaints:
            print(f"{complaint}; continuing from {checkpoint.path.name}", file=sys.stderr)
        path, state = checkpoint
        if missing := [key for key in PARTS if key not in state]:
            raise Refused(f"{path} is no checkpoint of a run of ours: it has no {', '.join(missing)}", CHECKPOINT)
        if differ := differences(model, state["state_dict"]):
            raise Refused(f"{path} is of another model: {differ}", CHECKPOINT)
        if state["stopped"] == "early" and (run.path / "metrics.json").exists():
            raise Refused(
                f"early stopping ended {run.path}: a longer limit would change nothing; "
                "init_from= starts a new run from its weights"
            )
        if complaints and run.lock is not None and (folder / LAST).exists():
            # Otherwise the next save would replace the good checkpoint by the damaged one.
            os.replace(folder / LAST, folder / "last.damaged.ckpt")
    if run.lock is not None:
        run.go_on(composed, state["rows"], state["global_step"])
    return checkpoint


def open_directory(composed: Composed, continued: Path | None, model: Any) -> tuple[RunDirectory, Checkpoint | None]:
    """The directory of a run, made or locked by the first process, and the checkpoint that it continues from."""
    run = RunDirectory(continued)
    if not first_process():
        return run, prepare_resume(run, composed, model) if continued else None
    if continued is None:
        return RunDirectory.create(composed), None
    run.acquire()
    try:
        return run, prepare_resume(run, composed, model)
    except BaseException:
        run.release()
        raise
