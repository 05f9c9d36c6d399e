"""A trained run, used again: its configuration, its model with the best weights, its data."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.gate import check_classes, compose_checked
from dlcourse.config.overrides import Overrides
from dlcourse.errors import Refused
from dlcourse.runs.building import build, quieten
from dlcourse.runs.directory import load_checked
from dlcourse.runs.weights import load_best

#: What data of another configuration takes from the run: the order of outputs and inputs, and the units of inputs.
OF_THE_RUN = (
    *("classes", "columns", "float64_target", "target_written", "label_words"),
    *("white", "ground", "dtype", "resize"),
)


def restore(run: str | Path | None, overrides: Overrides | None = None) -> tuple[DictConfig, Any, Any]:
    """The configuration of a run, the model with its best weights, and its data or that of the overrides."""
    overrides = overrides or Overrides()
    other = other_data(overrides.only(lambda key: key.startswith("data") or key == "allow"))
    path, composed = load_checked(run, overrides)
    cfg = composed.cfg
    quieten()
    check_classes(composed.tree, overrides.packages)
    data, model = build(composed.tree)
    load_best(model, path)
    if other is not None:
        for key in ("y", "shape", "outputs"):
            if other[key] != cfg.data[key]:
                difference = f"its {key} is {other[key]}, the run was trained on {cfg.data[key]}"
                raise Refused(f"data={other.name}: {difference}")
        own_names = {key: cfg.data[key] for key in OF_THE_RUN if key in cfg.data and key in other}
        cfg.data = OmegaConf.merge(other, own_names, known_files(cfg.data, other))
        composed = composed.resolved()
        check_classes(composed.tree, overrides.packages)
        data, _ = build(composed.tree)
    return cfg, model.eval(), data


def known_files(trained: DictConfig, other: DictConfig) -> dict[str, Any]:
    """The sums of those files of other data that the run was trained on, as they were then."""
    known = {Path(name).absolute(): held for name, held in (trained.get("fingerprint") or {}).items()}
    found = other.get("fingerprint") or {}
    held = {name: known[Path(name).absolute()] for name in found if Path(name).absolute() in known}
    return {"fingerprint": held} if held else {}


def other_data(overrides: Overrides) -> DictConfig | None:
    """The data that the overrides select, from a new composition; None if they select none."""
    data_overrides = [override for override in overrides.parsed if override.key_or_group != "allow"]
    if not data_overrides:
        return None
    if "data" not in overrides:
        raise Refused(
            f"{data_overrides[0].input_line}: choose the data too, such as data=csv {data_overrides[0].input_line}"
        )
    return compose_checked(overrides).cfg.data
