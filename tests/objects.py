"""Tasks and losses as conf/ declares them, for tests that build a data set or a model by hand."""

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

import dlcourse.config.resolve  # noqa: F401  its resolvers
from dlcourse.tasks.predictions import forward_batches

CONF = Path(__file__).parents[1] / "conf"
#: Of each supervised task: the kind of y that it learns from.
KINDS = {"classification": "classes", "binary": "classes", "multilabel": "labels", "regression": "values"}


def shipped(group: str, name: str) -> Any:
    """A group's own part of one of its files."""
    file = OmegaConf.load(CONF / group / f"{name}.yaml")
    bases = [shipped(group, base) for base in file.get("defaults", []) if isinstance(base, str) and base.isalpha()]
    return OmegaConf.merge(*bases, file.get(group, file))


def task(name: str, outputs: int = 1, **facts: Any) -> Any:
    """conf/task/NAME.yaml for data with these facts: shape, classes, standardise, white."""
    data = {"outputs": outputs, "shape": [outputs], "classes": None, "standardise": True, **facts}
    return instantiate(OmegaConf.create({"data": data, "task": shipped("task", name)}).task, _convert_="all")


def loss(name: str, of: str = "classification", **options: Any) -> Any:
    """conf/loss/NAME.yaml as it is for the task ``of``."""
    given = {"data": {"outputs": 1, "shape": [1], "classes": None, "standardise": True}}
    tree = OmegaConf.create({**given, "task": shipped("task", of), "loss": shipped("loss", name)})
    return instantiate(OmegaConf.merge(tree, {"loss": options}).loss, _convert_="all")


def predicted_lines(model: Any, x: Any) -> list[str]:
    """What predict.py prints for raw inputs."""
    return list(model.task.format_predictions(forward_batches(model, x)))
