"""From a resolved configuration to objects: the data and the model, and the process they run in."""

import gc
import os
from pathlib import Path
from typing import Any

from dlcourse.config.compose import Composed
from dlcourse.config.rules import OF_METRICS
from dlcourse.errors import Refused, explain
from dlcourse.runs.checkpoint_file import has_checkpoint
from dlcourse.runs.weights import start_from


def build_task(tree: dict[str, Any]) -> Any:
    """The task of a resolved configuration, the one object that data and models share."""
    from hydra.utils import instantiate

    return instantiate(tree["task"], _convert_="all")


def build_part(tree: dict[str, Any], part: str, task: Any, **handed: Any) -> Any:
    """The ``data`` or the ``model`` of a resolved configuration, for a task."""
    from hydra.utils import instantiate

    return instantiate(tree[part], _convert_="all", _partial_=True)(task=task, **handed)


def build_metrics(tree: dict[str, Any]) -> dict[str, Any]:
    """The metrics that are chosen beside the task's own, by name."""
    from hydra.utils import instantiate

    built = {}
    for name, node in tree["metrics"].items():
        try:
            built[name] = instantiate({key: node[key] for key in node if key not in OF_METRICS}, _convert_="all")
        except Exception as error:  # as the others'; but this one does not name the metric
            raise Refused(f"metrics.{name}: {explain(error) or error}") from error
    return built


def build(tree: dict[str, Any]) -> tuple[Any, Any]:
    """The data and the model of a resolved configuration; an argument that a constructor rejects is refused."""
    try:
        task = build_task(tree)
        metrics = build_metrics(tree)
        built = build_part(tree, "data", task), build_part(tree, "model", task, metrics=metrics)
        if not gc.isenabled():  # a command's imports are over; what they made stays, and is not looked at again
            gc.freeze()
            gc.enable()
        return built
    except (ValueError, TypeError) as error:  # of the constructor of the data or of the model
        raise Refused(str(error)) from error
    except Exception as error:
        if known := explain(error):
            raise known from error
        raise


def quieten() -> None:
    """Lightning's hints about a person's own choices are of no use here; its warnings stay."""
    import logging
    import warnings

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.callbacks.model_summary").setLevel(logging.INFO)
    for message in (
        ".*does not have many workers.*",  # batches are indexed from memory
        ".*sync_dist=True.*",  # the sums were added up over the processes already
        ".*exists and is not empty.*",  # the run directory is made before the loggers
        ".*lr_scheduler.step.*",
        ".*was configured so 1 batch.*",
        ".*is smaller than the logging interval.*",
        ".*No device id is provided.*",
        ".*`srun` command is available.*",  # Slurm is installed; that a run shall use it, nobody has said
        ".*will save all targets and predictions in the buffer.*",  # of validation rows, one pass
        ".*LeafSpec.*",  # Lightning's own use of torch
        ".*in eval mode at the start of training.*",  # a model says so itself, where a part of it is frozen
    ):
        warnings.filterwarnings("ignore", message)


def first_process() -> bool:
    """Whether this is the process that writes: rank 0, as launchers announce it before anything is set up."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def build_seeded(composed: Composed, continued: Path | None = None) -> tuple[Any, Any]:
    """The data and the model of a run before its first step; all random numbers begin at the seed.

    A run that is ``continued`` from a checkpoint takes its weights from there, and none from elsewhere.
    """
    import lightning.pytorch as pl

    from dlcourse.runs.threads import avoid_nvml, set_threads

    tree = composed.tree
    pl.seed_everything(tree["seed"], workers=True, verbose=False)
    data, model = build(tree)
    set_threads(model, data)
    avoid_nvml()
    if continued and has_checkpoint(continued):
        return data, model
    told = model.load_pretrained()
    if told and first_process():
        print(told, flush=True)
    if tree["init_from"]:
        start_from(model, tree["init_from"], tree["init_from_skip"])
    return data, model


def check_processes(tree: dict[str, Any]) -> None:
    """A launcher's processes and the trainer's must be as many, or one would train and the others wait."""
    started = int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if started > 1 and tree["trainer"]["strategy"] == "auto":
        raise Refused(f"{started} processes were started for a trainer of one; add trainer=ddp trainer.devices=…")
