"""Upgrades stored configurations whose classes have moved, and those and weights from before a task was an object."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.groups import CONF

#: Classes that have moved since, and their new names.
MOVED = {
    "dlcourse.callbacks.diagnostics.Diagnostics": "dlcourse.measures.diagnostics.Diagnostics",
    "dlcourse.data.files.Csv": "dlcourse.data.table.OwnTable",
    "dlcourse.data.table.Csv": "dlcourse.data.table.OwnTable",
    "dlcourse.losses.BCE": "dlcourse.cross_entropies.BCE",
    "dlcourse.losses.CrossEntropy": "dlcourse.cross_entropies.CrossEntropy",
    "dlcourse.data.files.ImageFolder": "dlcourse.data.folder.OwnPictures",
    "dlcourse.data.folder.ImageFolder": "dlcourse.data.folder.OwnPictures",
    "dlcourse.loggers.Csv": "dlcourse.runs.loggers.Csv",
    "dlcourse.loggers.Wandb": "dlcourse.runs.wandb_logger.Wandb",
}
#: How classes that have moved read a person's own files then.
AS_BEFORE: dict[str, dict[str, Any]] = {
    "dlcourse.data.table.OwnTable": {"by_row": True},
    "dlcourse.data.folder.OwnPictures": {"as_before": True, "white": 255},
}


def needs_upgrade(cfg: DictConfig) -> bool:
    """Whether a stored configuration has its task as a word below ``data``."""
    return "task" not in cfg and OmegaConf.select(cfg, "data.task") is not None


def upgrade(cfg: DictConfig) -> DictConfig:
    """An old stored configuration, as it would be stored today."""
    tree: dict[str, Any] = OmegaConf.to_container(cfg, resolve=False)  # type: ignore[assignment]
    _rename(tree)
    if not needs_upgrade(cfg):
        return OmegaConf.create(tree)
    data, loss, choice = tree["data"], tree["loss"], tree["choice"]
    word = data.pop("task")
    # The task of each kind of y; the old words were the same, except for binary.
    tasks = _shipped("data", "table")["facts"]["tasks"]
    choice["task"] = tasks.get(word, tasks["two"])
    tree["task"], tree["metrics"] = _shipped("task", choice["task"]), {}
    data["y"] = word if word == "values" else "classes"
    data["outputs"] = tree["task"].get("class_count") or data["outputs"]
    if (white := _shipped("data", choice["data"]).get("white")) is not None:
        data["white"] = white
    for key in ("task", "tasks"):
        loss.pop(key, None)
    loss |= {"target_forms": _shipped("loss", choice["loss"]).get("target_forms", [tree["task"]["target_form"]])}
    if "output" in loss and loss["output"] is None:
        loss["output"] = "${task.output}"
    return OmegaConf.create(tree)


def upgrade_weights(weights: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The weights of an old checkpoint under today's ``names``: the moments of the targets belong to the task."""
    moments = {name: weights[name] for name in ("y_mean", "y_std") if name in weights and name not in names}
    kept = {name: value for name, value in weights.items() if name not in moments}
    return kept | {f"task.{name}": value for name, value in moments.items() if f"task.{name}" in names}


def _shipped(group: str, name: str) -> dict[str, Any]:
    """The values that a file of conf/ sets in its own group; empty if the file no longer exists."""
    path = CONF / group / f"{name}.yaml"
    file: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else {}
    return file.get(group, file)


def _rename(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("_target_") in MOVED:
            node["_target_"] = MOVED[node["_target_"]]
            node |= AS_BEFORE.get(node["_target_"], {})
        for part in node.values():
            _rename(part)
    elif isinstance(node, list):
        for part in node:
            _rename(part)
