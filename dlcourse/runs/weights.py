"""The weights of a run: loaded into a model, or compared with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcourse.config.upgrade import upgrade_weights
from dlcourse.errors import CHECKPOINT, Refused
from dlcourse.runs.checkpoint_file import BEST, load


def load_best(model: Any, run: Path, skip: Sequence[str] = ()) -> None:
    """Load the best weights of a run into a model, except names that begin with ``skip``; Refused if others differ."""
    weights = upgrade_weights(load(run / "checkpoints" / BEST)["state_dict"], set(model.state_dict()))
    weights = {name: w for name, w in weights.items() if not name.startswith(tuple(skip))}
    if different := differences(model, weights, skip):
        raise Refused(f"the weights of {run} do not fit this model: {different}", CHECKPOINT)
    model.load_state_dict({**model.state_dict(), **weights})


def differences(model: Any, weights: dict[str, Any], skip: Sequence[str] = ()) -> str:
    """The names and shapes in which weights differ from a model's own, as text; empty if they fit."""
    own = model.state_dict()
    missing = [name for name in own if name not in weights and not name.startswith(tuple(skip))]
    # A model gets "fill" from data with missing values, or from the weights.
    unexpected = [name for name in weights if name not in own and name != "fill"]
    different = [
        f"{name} is {tuple(w.shape)} there and {tuple(own[name].shape)} here"
        for name, w in weights.items()
        if name in own and w.shape != own[name].shape
    ]
    parts = [f"missing there: {', '.join(missing[:3])}"] * bool(missing)
    return "; ".join([*parts, *[f"only there: {', '.join(unexpected[:3])}"] * bool(unexpected), *different[:3]])
