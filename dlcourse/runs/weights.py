"""Load the weights of a trained run into its own or another model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcourse.config.upgrade import upgrade_weights
from dlcourse.errors import CHECKPOINT, Refused
from dlcourse.runs.directory import open_run


def init_from_run(model: Any, run: str, skip: Sequence[str]) -> None:
    """``init_from=RUN``: start with the best weights of another run, except names that begin with ``skip``."""
    from dlcourse.runs.checkpoint_file import load
    from dlcourse.runs.checkpoints import BEST

    path, _ = open_run(run, "init_from")
    load_weights(model, load(path / "checkpoints" / BEST)["state_dict"], path, skip)


def load_weights(model: Any, weights: dict[str, Any], path: Path, skip: Sequence[str] = ()) -> None:
    """Load weights into a model strictly; Refused names the differences."""
    weights = upgrade_weights(weights, set(model.state_dict()))
    weights = {name: w for name, w in weights.items() if not name.startswith(tuple(skip))}
    if different := differences(model, weights, skip):
        raise Refused(f"the weights of {path} do not fit this model: {different}", CHECKPOINT)
    model.load_state_dict({**model.state_dict(), **weights})


def differences(model: Any, weights: dict[str, Any], skip: Sequence[str] = ()) -> str:
    """The names and shapes in which weights differ from a model's own, as text; empty if they fit."""
    own = model.state_dict()
    missing = [name for name in own if name not in weights and not name.startswith(tuple(skip))]
    unexpected = [name for name in weights if name not in own]
    different = [
        f"{name} is {tuple(w.shape)} there and {tuple(own[name].shape)} here"
        for name, w in weights.items()
        if name in own and w.shape != own[name].shape
    ]
    parts = [f"missing there: {', '.join(missing[:3])}"] * bool(missing)
    return "; ".join([*parts, *[f"only there: {', '.join(unexpected[:3])}"] * bool(unexpected), *different[:3]])
