"""The checkpoint of trials that are trained together: written after epochs, read at the next start."""

import sys
import time
from typing import Any

from dlcourse.errors import Refused
from dlcourse.runs.checkpoint_file import AtomicIO, load
from dlcourse.runs.random_state import random_state, set_random_state

CHECKPOINT = "together_{}.ckpt"
#: What of the training's attributes a checkpoint holds as it is.
SAVED = ("live", "state", "best_w", "best_rest", "losses", "epoch", "step", "seconds")


def save(training: Any) -> None:
    """Write all that the next epoch needs to end in the same bits."""
    state = {
        "words": [trial.composed.overrides.words for trial in training.trials],
        "trials": [trial.state_dict() for trial in training.trials],
        **{key: getattr(training, key) for key in SAVED},
        "w": training.stacked.w,
        "rest": training.stacked.rest,
        "numbers": training.numbers,
        "rates": training.rates.state_dict(),
        "rng": random_state(),
    }
    began = time.monotonic()
    AtomicIO().save_checkpoint(state, training.path)
    ended = time.monotonic()
    training.save_at = ended + max(1, 20 * (ended - began))  # it takes no more than a twentieth of the time


def restore(training: Any) -> None:
    """Continue the same trials where they were stopped, or those of them that have no directory yet."""
    mine = [trial.composed.overrides.words for trial in training.trials]
    for path in sorted(training.path.parent.glob(CHECKPOINT.format("*"))):
        try:
            state = load(path, training.device)
        except Refused as refusal:
            print(f"{refusal}: its trials start again", file=sys.stderr)
            continue
        known = all(words in state["words"] for words in mine)
        if mine == state["words"] or known and not state["live"]:
            training.path = path
            resume_from(training, state, mine)
            return
        if any(words in state["words"] for words in mine):
            raise Refused(f"{path} holds some of these trials with others: say sweep.workers= as when it was begun")


def resume_from(training: Any, state: dict[str, Any], mine: list[list[str]]) -> None:
    """Put back the state of a checkpoint, of the trials with these words."""
    rows = [state["words"].index(words) for words in mine]
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
