"""A trained run, used again: its configuration, its model with the best weights, its data."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.gate import check_classes, compose_checked
from dlcourse.config.overrides import Overrides
from dlcourse.errors import Refused
from dlcourse.runs.building import build, quieten
from dlcourse.runs.directory import load_checked
from dlcourse.runs.weights import take_weights


def restore(run: str | Path | None, overrides: Overrides | None = None) -> tuple[DictConfig, Any, Any]:
    """The configuration of a run, the model with its best weights, and the data: its own, or that of the overrides."""
    from dlcourse.runs.checkpoint_file import load
    from dlcourse.runs.checkpoints import BEST

    overrides = overrides or Overrides()
    other = other_data(overrides.only(lambda key: key.startswith("data") or key == "allow"))
    path, composed = load_checked(run, overrides)
    cfg = composed.cfg
    quieten()
    check_classes(composed.tree, overrides.packages)
    data, model = build(composed.tree)
    take_weights(model, load(path / "checkpoints" / BEST)["state_dict"], path)
    if other is not None:
        for key in ("y", "shape", "outputs"):
            if other[key] != cfg.data[key]:
                differ = f"its {key} is {other[key]}, the run was trained on {cfg.data[key]}"
                raise Refused(f"data={other.name}: {differ}")
        # Classes and vocabularies are the run's: the order of its outputs and inputs.
        kept = {key: cfg.data[key] for key in ("classes", "columns") if key in cfg.data and key in other}
        cfg.data = OmegaConf.merge(other, kept)
        composed = composed.resolved()
        check_classes(composed.tree, overrides.packages)
        data, _ = build(composed.tree)
    return cfg, model.eval(), data


def other_data(overrides: Overrides) -> DictConfig | None:
    """The data that the overrides of an evaluation name, from a new composition; None where they name none."""
    named = [override for override in overrides.parsed if override.key_or_group != "allow"]
    if not named:
        return None
    if "data" not in overrides:
        raise Refused(f"{named[0].input_line}: say which data first, as data=csv {named[0].input_line}")
    return compose_checked(overrides).cfg.data
