"""Build Lightning's Trainer for a run, and log the configuration."""

from contextlib import nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from dlcourse.config.compose import Composed
from dlcourse.errors import CONFIG, ENVIRONMENT, Refused
from dlcourse.runs.checkpoint_file import AtomicIO
from dlcourse.runs.checkpoints import Checkpoints
from dlcourse.runs.directory import RunDirectory, environment
from dlcourse.runs.files import read_rows, write_json
from dlcourse.runs.interrupt import Interrupt
from dlcourse.runs.loggers import MetricsFile
from dlcourse.runs.record import Record


class NoProfiler(pl.profilers.PassThroughProfiler):
    """Measures nothing: Lightning calls its profiler about fifty times a step, and its own dummy is slower."""

    nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self.nothing


def make_trainer(composed: Composed, run: RunDirectory, checkpoint_io: AtomicIO) -> tuple[Any, Checkpoints]:
    """Lightning's Trainer with the callbacks and loggers that every run has, and those of the configuration."""
    tree = composed.tree
    hyper_parameters = {"model": tree["model"], "data": tree["data"], "choice": composed.choices}
    checkpoints = Checkpoints(run, tree["monitor"], tree["mode"], tree["checkpoint"]["every"], hyper_parameters)
    chosen = [instantiate(node) for node in tree["callbacks"].values() if node]
    callbacks = [Record(run), *chosen, Interrupt(checkpoints), checkpoints]
    loggers: list[Any] = []
    if run.lock is not None:
        nodes = [node for node in tree["logger"].values() if isinstance(node, dict) and "_target_" in node]
        loggers = [MetricsFile(run.path / "metrics.jsonl"), *map(instantiate, nodes)]
    try:
        trainer = instantiate(
            tree["trainer"],
            _convert_="all",
            callbacks=callbacks,
            # without a progress callback Lightning would add its own bar
            enable_progress_bar=tree["trainer"]["enable_progress_bar"]
            and any(isinstance(c, pl.callbacks.ProgressBar) for c in chosen),
            logger=loggers,
            **({} if tree["trainer"]["profiler"] else {"profiler": NoProfiler()}),
            plugins=[checkpoint_io],
            default_root_dir=run.path and str(run.path),
        )
    except Exception as error:
        if isinstance(error.__cause__, MisconfigurationException | ValueError | RuntimeError):
            raise refuse_device(str(error.__cause__), tree["trainer"]) from error
        raise
    return trainer, checkpoints


def refuse_device(message: str, trainer: dict[str, Any]) -> Refused:
    """The refusal for a trainer that cannot be built; names this machine's devices."""
    there = ["cpu"] + [f"{torch.cuda.device_count()} cuda"] * torch.cuda.is_available()
    there += ["mps"] * torch.backends.mps.is_available()
    asked = f"trainer.accelerator={trainer['accelerator']} trainer.devices={trainer['devices']}"
    first = message.strip().splitlines()[0]
    is_device = any(word in first.lower() for word in ("device", "accelerator", "gpu", "mps", "cuda"))
    return Refused(f"{asked}: {first}\nThis machine has: {', '.join(there)}", ENVIRONMENT if is_device else CONFIG)


def log_start(trainer: Any, composed: Composed, run: RunDirectory) -> None:
    """Write environment.json and log the configuration, before the first step."""
    if run.lock is not None:
        device, threads = str(trainer.strategy.root_device), torch.get_num_threads()
        write_json(run.path / "environment.json", environment(device, threads))
    for logger in trainer.loggers:
        logger.log_hyperparams({**composed.tree, "choice": composed.choices})
        logger.rows_after_checkpoint = list(run.rows_after_checkpoint)
        if isinstance(logger, pl.loggers.CSVLogger):  # it overwrites its file, so log the rows before the resume again
            for row in read_rows(run.path / "metrics.jsonl"):
                metrics = {key: value for key, value in row.items() if value is not None}
                logger.log_metrics(metrics, step=metrics.pop("step"))
