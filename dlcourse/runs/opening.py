"""Open the directory of a run: create a new one, or lock an old one and reset it to its checkpoint."""

import os
import sys
from pathlib import Path
from typing import Any

from dlcourse.config.compose import Composed
from dlcourse.errors import CHECKPOINT, Refused
from dlcourse.runs.building import first_process
from dlcourse.runs.checkpoint_file import LAST, Checkpoint, has_checkpoint, newest_readable
from dlcourse.runs.directory import RunDirectory
from dlcourse.runs.weights import differences

#: Keys that a checkpoint needs to be resumed from.
REQUIRED_KEYS = (
    *("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "hyper_parameters"),
    *("global_step", "rng", "rows", "stopped"),
)


def prepare_resume(run: RunDirectory, composed: Composed, model: Any) -> Checkpoint | None:
    """The checkpoint to resume from (None: start at step 0); no file changes before it is known to fit.

    Refused: a checkpoint of another model or program, and a run that early stopping ended.
    """
    assert run.path is not None
    folder = run.path / "checkpoints"
    checkpoint = None
    state: dict[str, Any] = {"rows": 0, "global_step": 0}
    if has_checkpoint(run.path):
        checkpoint, problems = newest_readable(folder)
        for problem in problems:
            print(f"{problem}; continuing from {checkpoint.path.name}", file=sys.stderr)
        path, state = checkpoint
        if missing := [key for key in REQUIRED_KEYS if key not in state]:
            raise Refused(f"{path} is not a checkpoint of a dlcourse run: it has no {', '.join(missing)}", CHECKPOINT)
        if difference := differences(model, state["state_dict"]):
            raise Refused(f"{path} belongs to another model: {difference}", CHECKPOINT)
        if state["stopped"] == "early" and (run.path / "metrics.json").exists():
            raise Refused(
                f"early stopping ended {run.path}, so a longer limit would change nothing; "
                "init_from= starts a new run from its weights"
            )
        if problems and run.lock is not None and (folder / LAST).exists():
            # Otherwise the next save would replace the good previous checkpoint with the damaged one.
            os.replace(folder / LAST, folder / "last.damaged.ckpt")
    if run.lock is not None:
        run.reopen(composed, state["rows"], state["global_step"])
    return checkpoint


def open_directory(composed: Composed, resumed_from: Path | None, model: Any) -> tuple[RunDirectory, Checkpoint | None]:
    """The directory of a run, created or locked by the first process, and the checkpoint that it resumes from."""
    run = RunDirectory(resumed_from)
    if not first_process():
        return run, prepare_resume(run, composed, model) if resumed_from else None
    if resumed_from is None:
        return RunDirectory.create(composed), None
    run.acquire()
    try:
        return run, prepare_resume(run, composed, model)
    except BaseException:
        run.release()
        raise
