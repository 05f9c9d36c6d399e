"""A trained run, used again: its configuration, its model with the best weights, its data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.gate import admit, allowed_packages, inspect_targets
from dlcourse.config.resolve import resolve
from dlcourse.errors import Refused
from dlcourse.runs.building import build, quieten
from dlcourse.runs.directory import opened
from dlcourse.runs.weights import take_weights


def restore(run: str | Path | None, words: Sequence[str] = ()) -> tuple[DictConfig, Any, Any]:
    """The configuration of a run, the model with its best weights, and the data: its own or that of the words."""
    from dlcourse.runs.checkpoint_file import load
    from dlcourse.runs.checkpoints import BEST

    packages = allowed_packages(list(words))
    data_cfg = other_data([word for word in words if word.lstrip("+").startswith(("data", "allow="))])
    path, cfg = opened(run, packages)
    quieten()
    inspect_targets(resolve(cfg), packages)
    data, model = build(cfg)
    take_weights(model, load(path / "checkpoints" / BEST)["state_dict"], path)
    if data_cfg is not None:
        for key in ("task", "shape", "outputs"):
            if data_cfg[key] != cfg.data[key]:
                differ = f"its {key} is {data_cfg[key]}, the run was trained on {cfg.data[key]}"
                raise Refused(f"data={data_cfg.name}: {differ}")
        # Classes and vocabularies are the run's: the order of its outputs and inputs.
        kept = {key: cfg.data[key] for key in ("classes", "columns") if key in cfg.data and key in data_cfg}
        cfg.data = OmegaConf.merge(data_cfg, kept)
        inspect_targets(resolve(cfg), packages)
        data, _ = build(cfg)
    return cfg, model.eval(), data


def other_data(words: list[str]) -> DictConfig | None:
    """The data that the words of an evaluation name, from a new composition; None where they name none."""
    if all(word.startswith("allow=") for word in words):
        return None
    if not any(word.startswith("data=") for word in words):
        raise Refused(f"{words[0]}: say which data first, as data=csv {words[0]}")
    return admit(words).cfg.data
