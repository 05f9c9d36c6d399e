"""Build the task, the data and the model from a resolved configuration, and set up the process."""

import gc
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate

from dlcourse.config.compose import Composed
from dlcourse.config.rules import METRIC_KEYS
from dlcourse.data.fingerprint import check_unchanged
from dlcourse.errors import Refused, explain
from dlcourse.runs.checkpoint_file import has_checkpoint
from dlcourse.runs.directory import open_run
from dlcourse.runs.threads import set_threads
from dlcourse.runs.weights import load_best


def build_task(tree: dict[str, Any]) -> Any:
    """Build the task, the one object that data and model share."""
    return instantiate(tree["task"], _convert_="all")


def build_part(tree: dict[str, Any], part: str, task: Any, **arguments: Any) -> Any:
    """Build the ``data`` or the ``model`` of a resolved configuration for a task."""
    return instantiate(tree[part], _convert_="all", _partial_=True)(task=task, **arguments)


def build_metrics(tree: dict[str, Any]) -> dict[str, Any]:
    """Build the metrics that ``metrics=`` adds to the task's own, by name."""
    built = {}
    for name, node in tree["metrics"].items():
        try:
            built[name] = instantiate({key: node[key] for key in node if key not in METRIC_KEYS}, _convert_="all")
        except Exception as error:  # Hydra's message does not name the metric
            raise Refused(f"metrics.{name}: {explain(error) or error}") from error
    return built


def build(tree: dict[str, Any]) -> tuple[Any, Any]:
    """Build the data and the model; Refused if a constructor rejects an argument."""
    try:
        task = build_task(tree)
        metrics = build_metrics(tree)
        built = build_part(tree, "data", task), build_part(tree, "model", task, metrics=metrics)
        if not gc.isenabled():  # off during a command's imports; no collection need scan what they created
            gc.freeze()
            gc.enable()
        return built
    except Exception as error:  # a ValueError or TypeError is from the constructor of the data or the model
        if refusal := Refused(str(error)) if isinstance(error, ValueError | TypeError) else explain(error):
            raise refusal from error
        raise


def quieten() -> None:
    """Silence Lightning's hints about choices that are deliberate here; its other warnings stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.callbacks.model_summary").setLevel(logging.INFO)
    for message in (
        ".*does not have many workers.*",  # batches are slices of arrays in memory
        ".*sync_dist=True.*",  # metrics are summed over the processes before they are logged
        ".*exists and is not empty.*",  # the run directory is created before the loggers
        ".*lr_scheduler.step.*",
        ".*was configured so 1 batch.*",
        ".*is smaller than the logging interval.*",
        ".*No device id is provided.*",
        ".*`srun` command is available.*",  # Slurm is installed, but this run was not asked to use it
        ".*will save all targets and predictions in the buffer.*",  # of one pass over the validation set
        ".*LeafSpec.*",  # Lightning's own use of torch
        ".*in eval mode at the start of training.*",  # a model says so itself, where a part of it is frozen
    ):
        warnings.filterwarnings("ignore", message)


def first_process() -> bool:
    """Whether this process writes the files: rank 0, by the environment variables that launchers set."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def build_seeded(composed: Composed, resumed_from: Path | None = None) -> tuple[Any, Any]:
    """Seed all random numbers, then build the data and the model of a run.

    ``resumed_from``: the directory of the run to resume; with a checkpoint there, no other weights are read.
    """
    tree = composed.tree
    pl.seed_everything(tree["seed"], workers=True, verbose=False)
    data, model = build(tree)
    if resumed_from:
        check_unchanged(data)
    set_threads(model, data)
    if not torch.cuda.is_available():  # otherwise Lightning's check loads the driver's library at every optimizer step
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    if resumed_from and has_checkpoint(resumed_from):
        return data, model
    pretrained = model.load_pretrained()
    if pretrained and first_process():
        print(pretrained, flush=True)
    if tree["init_from"]:
        run, _ = open_run(tree["init_from"], "init_from")
        load_best(model, run, [*tree["init_from_skip"], "loss.counts"])  # counted in this run's training rows
    return data, model


def check_processes(tree: dict[str, Any]) -> None:
    """Refuse several launched processes with a one-process trainer: one would train and the others would wait."""
    started = int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if started > 1 and tree["trainer"]["strategy"] == "auto":
        raise Refused(f"{started} processes were started, but the trainer uses one; add trainer=ddp trainer.devices=…")
