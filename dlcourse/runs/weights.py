"""The weights of a trained run: its model again, or a start for another one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlcourse.config.upgrade import upgrade_weights
from dlcourse.errors import CHECKPOINT, Refused
from dlcourse.runs.directory import open_run


def start_from(model: Any, run: str, skip: Sequence[str]) -> None:
    """``init_from=RUN``: begin with the best weights of another run, but for those whose names begin with ``skip``."""
    from dlcourse.runs.checkpoint_file import load
    from dlcourse.runs.checkpoints import BEST

    path, _ = open_run(run, "init_from")
    take_weights(model, load(path / "checkpoints" / BEST)["state_dict"], path, skip)


def take_weights(model: Any, weights: dict[str, Any], path: Path, skip: Sequence[str] = ()) -> None:
    """Load weights into a model strictly; what differs is named."""
    weights = upgrade_weights(weights, set(model.state_dict()))
    weights = {name: w for name, w in weights.items() if not name.startswith(tuple(skip))}
    if differ := differences(model, weights, skip):
        raise Refused(f"the weights of {path} do not fit this model: {differ}", CHECKPOINT)
    model.load_state_dict({**model.state_dict(), **weights})


def differences(model: Any, weights: dict[str, Any], skip: Sequence[str] = ()) -> str:
    """In which names and shapes weights differ from a model's own; empty where they fit."""
    own = model.state_dict()
    missing = [name for name in own if name not in weights and not name.startswith(tuple(skip))]
    foreign = [name for name in weights if name not in own]
    differ = [
        f"{name} is {tuple(w.shape)} there and {tuple(own[name].shape)} here"
        for name, w in weights.items()
        if name in own and w.shape != own[name].shape
    ]
    parts = [f"missing there: {', '.join(missing[:3])}"] * bool(missing)
    return "; ".join([*parts, *[f"only there: {', '.join(foreign[:3])}"] * bool(foreign), *differ[:3]])
