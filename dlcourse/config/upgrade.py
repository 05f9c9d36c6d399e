"""Run directories written before a task was an object of its own, in today's terms."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcourse.config.groups import CONF

#: Classes that a stored configuration may name, by where they are now.
MOVED = {
    "dlcourse.callbacks.diagnostics.Diagnostics": "dlcourse.measures.diagnostics.Diagnostics",
    "dlcourse.data.files.Csv": "dlcourse.data.table.Csv",
    "dlcourse.data.files.ImageFolder": "dlcourse.data.folder.ImageFolder",
    "dlcourse.loggers.Csv": "dlcourse.runs.loggers.Csv",
    "dlcourse.loggers.Wandb": "dlcourse.runs.wandb_logger.Wandb",
}


def needs_upgrade(cfg: DictConfig) -> bool:
    """Whether a stored configuration has no task, but a word for one in its data."""
    return "task" not in cfg and OmegaConf.select(cfg, "data.task") is not None


def upgrade(cfg: DictConfig) -> DictConfig:
    """A stored configuration of before, as it would be stored today."""
    tree: dict[str, Any] = OmegaConf.to_container(cfg, resolve=False)  # type: ignore[assignment]
    _rename(tree)
    data, loss, choice = tree["data"], tree["loss"], tree["choice"]
    word = data.pop("task")
    tasks = _shipped("data", "csv")["facts"]["tasks"]  # the task of each kind of y, by the words of before but one
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
    """The weights of a checkpoint of before by today's ``names``: moments of the targets belong to the task."""
    moments = {name: weights[name] for name in ("y_mean", "y_std") if name in weights and name not in names}
    kept = {name: value for name, value in weights.items() if name not in moments}
    return kept | {f"task.{name}": value for name, value in moments.items() if f"task.{name}" in names}


def _shipped(group: str, name: str) -> dict[str, Any]:
    """A group's own part of a file of conf/; empty where there is no such file any more."""
    path = CONF / group / f"{name}.yaml"
    file: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else {}
    return file.get(group, file)


def _rename(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("_target_") in MOVED:
            node["_target_"] = MOVED[node["_target_"]]
        for part in node.values():
            _rename(part)
    elif isinstance(node, list):
        for part in node:
            _rename(part)
