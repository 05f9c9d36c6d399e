"""Check that trials can be trained together: they differ only in numbers and use only what is vectorised."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from dlcourse.config.compose import Composed
from dlcourse.errors import ENVIRONMENT, Refused
from dlcourse.schedulers import depends_on_total
from dlcourse.sweeps.optimizer_steps import STEPS

#: Keys that may differ between trials: hyperparameters of optimizer and initial weights, the seed, and names.
MAY_DIFFER = re.compile(
    r"(data\.)?seed|(model\.)?optimizer\.\w+(\.\d)?|(model\.)?init\.\w+|run_dir|logger\..*|callbacks\.pruning\.trial"
)
#: Trainer settings that must have these values.
REQUIRED_TRAINER = {
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
ALTERNATIVE = "run these with hydra/launcher=processes"


def check(trials: Sequence[Composed]) -> list[dict[str, Any]]:
    """The resolved configurations of compatible trials; Refused names the key that does not fit."""
    trees = [trial.tree for trial in trials]
    first = trees[0]
    flat_trees = [dict(flat_items(tree)) for tree in trees]
    for other in flat_trees[1:]:
        for key in {**flat_trees[0], **other}:
            one, two = flat_trees[0].get(key), other.get(key)
            both_numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, two))
            if one != two and not (
                MAY_DIFFER.fullmatch(key) and (both_numbers or not key.startswith(("optimizer", "model")))
            ):
                raise Refused(
                    f"{key} is {one} in one trial and {two} in another, but only numbers may differ; {ALTERNATIVE}"
                )
    for key, value in REQUIRED_TRAINER.items():
        if first["trainer"][key] != value:
            raise Refused(f"trainer.{key}={first['trainer'][key]} is not vectorised; {ALTERNATIVE}")
    for key in ("compile", "init_from"):
        if first[key]:
            raise Refused(f"{key}={first[key]} is not vectorised; {ALTERNATIVE}")
    if first["trainer"]["precision"] not in ("32-true", "64-true"):
        raise Refused(
            f"trainer.precision={first['trainer']['precision']} is not vectorised; 32-true or 64-true, or {ALTERNATIVE}"
        )
    if first["data"]["augment"] is not None:
        raise Refused(f"data.augment={trials[0].cfg.data.augment._target_} is not vectorised; {ALTERNATIVE}")
    if first["model"].get("epochs_per_layer"):  # each step trains other layers
        raise Refused(f"model.epochs_per_layer={first['model']['epochs_per_layer']} is not vectorised; {ALTERNATIVE}")
    if first["checkpoint"]["every"] is not None:
        raise Refused(f"checkpoint.every={first['checkpoint']['every']} is not vectorised; {ALTERNATIVE}")
    if first["metrics"]:
        raise Refused(f"metrics={','.join(first['metrics'])} is not vectorised; {ALTERNATIVE}")
    for name, node in first["callbacks"].items():
        if node is not None and name not in CALLBACKS:
            raise Refused(f"callbacks.{name} is not vectorised; {ALTERNATIVE}")
    device(first["trainer"]["accelerator"])
    step_and_hyperparameters(trees, torch.device("cpu"), torch.float32)
    return trees


def flat_items(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """The dotted keys of a resolved configuration, and their values."""
    if isinstance(tree, dict | list) and tree:
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [leaf for key, value in items for leaf in flat_items(value, f"{path}.{key}" if path else str(key))]
    return [(path, tree)]


def step_and_hyperparameters(
    trees: Sequence[dict[str, Any]], device: torch.device, dtype: torch.dtype
) -> tuple[Callable[..., None], dict[str, Any]]:
    """The optimizer's step function and its hyperparameters: columns (T, 1), or a single value if all are equal."""
    from hydra.utils import get_class

    nodes = [tree["optimizer"] for tree in trees]
    target = nodes[0]["_target_"]
    step = STEPS.get(get_class(target))
    if step is None:
        supported = ", ".join(supported.__name__ for supported in STEPS)
        raise Refused(f"optimizer={target} is not vectorised (only {supported}); {ALTERNATIVE}")
    accepted = inspect.signature(step).parameters

    def column(key: str, values: Sequence[Any]) -> Any:
        if isinstance(values[0], list):
            return tuple(column(key, part) for part in zip(*values, strict=True))
        if all(value == values[0] for value in values):
            return values[0]
        return torch.tensor(values, dtype=dtype, device=device)[:, None]

    hyperparameters = {}
    for key in nodes[0]:
        if key in accepted:
            hyperparameters[key] = column(key, [node[key] for node in nodes])
        elif not key.startswith("_") and key != "fused" and nodes[0][key]:
            raise Refused(f"optimizer.{key}={nodes[0][key]} is not vectorised; {ALTERNATIVE}")
    return step, hyperparameters


def device(accelerator: str) -> torch.device:
    """The CPU or the first GPU; Refused if there is none."""
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        raise Refused(f"trainer.accelerator={accelerator} is not vectorised; {ALTERNATIVE}")
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise Refused(f"trainer.accelerator={accelerator}: this machine has: cpu", ENVIRONMENT)
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


class LearningRates:
    """The learning rate of each trial (T,), by PyTorch's scheduler with one parameter group per trial."""

    def __init__(self, factory: Callable[..., Any], lr: Sequence[float], total_steps: int):
        if getattr(factory, "func", factory) is torch.optim.lr_scheduler.ReduceLROnPlateau:
            raise Refused(f"scheduler=plateau is not vectorised; {ALTERNATIVE}")
        self.each_step = depends_on_total(factory)
        groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in lr]
        self.optimizer = torch.optim.SGD(groups)
        self.scheduler = factory(self.optimizer, **({"total_steps": total_steps} if self.each_step else {}))
        self.read()

    def read(self) -> None:
        self.lr = torch.tensor([group["lr"] for group in self.optimizer.param_groups], dtype=torch.float64)

    def advance(self, epoch_ended: bool) -> None:
        """Advance the schedule after a step or an epoch, as Lightning does."""
        if self.each_step != epoch_ended:
            self.scheduler.step()
            self.read()

    def state_dict(self) -> dict[str, Any]:
        state = {key: value for key, value in self.scheduler.state_dict().items() if not callable(value)}
        return {"scheduler": state, "lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state["scheduler"])
        for group, rate in zip(self.optimizer.param_groups, state["lr"].tolist(), strict=True):
            group["lr"] = rate
        self.read()
