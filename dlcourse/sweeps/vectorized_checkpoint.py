"""The common checkpoint of trials that are trained together, written after epochs."""

import sys
import time
from typing import Any

from dlcourse.errors import Refused
from dlcourse.runs.checkpoint_file import AtomicIO, load, random_state, set_random_state

CHECKPOINT = "together_{}.ckpt"
#: Attributes of the training that are saved unchanged.
SAVED = ("live", "state", "best_w", "best_rest", "losses", "epoch", "step", "seconds")


def save(training: Any) -> None:
    """Write everything that the next epoch needs to give bit-identical results."""
    state = {
        "words": [trial.composed.overrides.texts for trial in training.trials],
        "trials": [trial.state_dict() for trial in training.trials],
        **{key: getattr(training, key) for key in SAVED},
        "w": training.stacked.w,
        "rest": training.stacked.rest,
        "numbers": training.numbers,
        "rates": training.rates.state_dict(),
        "rng": random_state(),
    }
    started = time.monotonic()
    AtomicIO().save_checkpoint(state, training.path)
    ended = time.monotonic()
    training.save_at = ended + max(1, 20 * (ended - started))  # at most a twentieth of the time is spent on checkpoints


def restore(training: Any) -> None:
    """Resume the same trials where they stopped, or those of them that have no directory yet."""
    own_overrides = [trial.composed.overrides.texts for trial in training.trials]
    for path in sorted(training.path.parent.glob(CHECKPOINT.format("*"))):
        try:
            state = load(path, training.device)
        except Refused as refusal:
            print(f"{refusal}: its trials start again", file=sys.stderr)
            continue
        all_saved = all(words in state["words"] for words in own_overrides)
        if own_overrides == state["words"] or all_saved and not state["live"]:
            training.path = path
            resume_from(training, state, own_overrides)
            return
        if any(words in state["words"] for words in own_overrides):
            raise Refused(
                f"{path} holds some of these trials with others: set sweep.workers= to the value of the first start"
            )


def resume_from(training: Any, state: dict[str, Any], own_overrides: list[list[str]]) -> None:
    """Restore the state of the trials with these overrides from a checkpoint."""
    rows = [state["words"].index(words) for words in own_overrides]
    for trial, row in zip(training.trials, rows, strict=True):
        trial.load_state_dict(state["trials"][row])
    state["best_w"] = state["best_w"][rows]
    state["best_rest"] = {name: value[rows] for name, value in state["best_rest"].items()}
    for key in (*SAVED, "numbers"):
        setattr(training, key, state[key])
    training.stacked.w, training.stacked.rest = state["w"], state["rest"]
    if training.live:
        training.rates.load_state_dict(state["rates"])
    set_random_state(state["rng"])
