"""Which trials can be trained together: they differ in numbers only, and ask for nothing that is not done for all."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from dlcourse.config.compose import Composed
from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.schedulers import depends_on_total
from dlcourse.sweeps.optimizer_steps import STEPS

#: What may differ from trial to trial: numbers of the optimizer and of the initial weights, the seed, and names.
FREE = re.compile(
    r"(data\.)?seed|(model\.)?optimizer\.\w+(\.\d)?|(model\.)?init\.\w+|run_dir|logger\..*|callbacks\.pruning\.trial"
)
#: What the trainer is asked for, and must be as it stands here.
PLAIN = {
    "strategy": "auto",
    "devices": 1,
    "num_nodes": 1,
    "accumulate_grad_batches": 1,
    "gradient_clip_algorithm": "norm",
    "limit_train_batches": 1.0,
    "limit_val_batches": 1.0,
    "limit_test_batches": 1.0,
    "val_check_interval": 1.0,
    "check_val_every_n_epoch": 1,
    "max_time": None,
    "detect_anomaly": False,
    "profiler": None,
}
CALLBACKS = ("progress", "summary", "early_stopping", "pruning")
ELSE = "run these with hydra/launcher=processes"


def check(trials: Sequence[Composed]) -> list[dict[str, Any]]:
    """The resolved configurations of trials that fit together; Refused names the key that does not."""
    trees = [trial.tree for trial in trials]
    first = trees[0]
    flat = [dict(leaves(tree)) for tree in trees]
    for other in flat[1:]:
        for key in {**flat[0], **other}:
            one, two = flat[0].get(key), other.get(key)
            number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, two))
            if one != two and not (FREE.fullmatch(key) and (number or not key.startswith(("optimizer", "model")))):
                raise Refused(
                    f"{key} is {one} in one trial and {two} in another: together they differ in numbers only; {ELSE}"
                )
    for key, value in PLAIN.items():
        if first["trainer"][key] != value:
            raise Refused(f"trainer.{key}={first['trainer'][key]} is not vectorised; {ELSE}")
    for key in ("compile", "init_from"):
        if first[key]:
            raise Refused(f"{key}={first[key]} is not vectorised; {ELSE}")
    if first["trainer"]["precision"] not in ("32-true", "64-true"):
        raise Refused(
            f"trainer.precision={first['trainer']['precision']} is not vectorised; 32-true or 64-true, or {ELSE}"
        )
    if first["data"]["augment"] is not None:
        raise Refused(f"data.augment={trials[0].cfg.data.augment._target_} is not vectorised; {ELSE}")
    if first["checkpoint"]["every"] is not None:
        raise Refused(
            f"checkpoint.every={first['checkpoint']['every']}: together a checkpoint comes after an epoch; {ELSE}"
        )
    if first["metrics"]:
        raise Refused(f"metrics={','.join(first['metrics'])} is not vectorised; {ELSE}")
    for name, node in first["callbacks"].items():
        if node is not None and name not in CALLBACKS:
            raise Refused(f"callbacks.{name} is not vectorised; {ELSE}")
    device(first["trainer"]["accelerator"])
    numbers_of(trees, torch.device("cpu"), torch.float32)
    return trees


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """The dotted names of all values of a resolved configuration, and the values."""
    if isinstance(tree, dict | list) and tree:
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [leaf for key, value in items for leaf in leaves(value, f"{path}.{key}" if path else str(key))]
    return [(path, tree)]


def numbers_of(
    trees: Sequence[dict[str, Any]], device: torch.device, dtype: torch.dtype
) -> tuple[Callable[..., None], dict[str, Any]]:
    """The step of the trials' optimizer, and its numbers: columns (T, 1), or what all trials have as it is."""
    from hydra.utils import get_class

    nodes = [tree["optimizer"] for tree in trees]
    target = nodes[0]["_target_"]
    step = STEPS.get(get_class(target))
    if step is None:
        known = ", ".join(known.__name__ for known in STEPS)
        raise Refused(f"optimizer={target} is not vectorised (there are {known}); {ELSE}")
    takes = inspect.signature(step).parameters

    def column(key: str, values: Sequence[Any]) -> Any:
        if isinstance(values[0], list):
            return tuple(column(key, part) for part in zip(*values, strict=True))
        if all(value == values[0] for value in values):
            return values[0]
        return torch.tensor(values, dtype=dtype, device=device)[:, None]

    numbers = {}
    for key in nodes[0]:
        if key in takes:
            numbers[key] = column(key, [node[key] for node in nodes])
        elif not key.startswith("_") and key != "fused" and nodes[0][key]:
            raise Refused(f"optimizer.{key}={nodes[0][key]} is not vectorised; {ELSE}")
    return step, numbers


def device(accelerator: str) -> torch.device:
    """The CPU or the first GPU; one that is not there is refused."""
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        raise Refused(f"trainer.accelerator={accelerator} is not vectorised; {ELSE}")
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise Refused(f"trainer.accelerator={accelerator}: this machine has: cpu", ENVIRONMENT)
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


class Rates:
    """The learning rate of each trial (T,), moved by the schedule's own class: a parameter group stands for a trial."""

    def __init__(self, factory: Callable[..., Any], lr: Sequence[float], total_steps: int):
        if getattr(factory, "func", factory) is torch.optim.lr_scheduler.ReduceLROnPlateau:
            raise Refused(f"scheduler=plateau is not vectorised; {ELSE}")
        self.each_step = depends_on_total(factory)
        groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in lr]
        self.optimizer = torch.optim.SGD(groups)
        self.scheduler = factory(self.optimizer, **({"total_steps": total_steps} if self.each_step else {}))
        self.read()

    def read(self) -> None:
        self.lr = torch.tensor([group["lr"] for group in self.optimizer.param_groups], dtype=torch.float64)

    def move(self, epoch_ended: bool) -> None:
        """After a step, and after an epoch: as Lightning does for one."""
        if self.each_step != epoch_ended:
            self.scheduler.step()
            self.read()

    def state_dict(self) -> dict[str, Any]:
        plain = {key: value for key, value in self.scheduler.state_dict().items() if not callable(value)}
        return {"scheduler": plain, "lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state["scheduler"])
        for group, rate in zip(self.optimizer.param_groups, state["lr"].tolist(), strict=True):
            group["lr"] = rate
        self.read()
