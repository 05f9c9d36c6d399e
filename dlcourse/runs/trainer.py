"""Build Lightning's Trainer for a run, and log the configuration."""

from contextlib import nullcontext
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.profilers import PassThroughProfiler

from dlcourse.config.compose import Composed
from dlcourse.errors import explain_device
from dlcourse.runs.checkpoint_file import AtomicIO
from dlcourse.runs.checkpoints import Checkpoints
from dlcourse.runs.directory import RunDirectory, environment
from dlcourse.runs.files import read_rows, write_json
from dlcourse.runs.interrupt import Interrupt
from dlcourse.runs.loggers import MetricsFile
from dlcourse.runs.record import Record


class NoProfiler(PassThroughProfiler):
    """Measures nothing: Lightning calls its profiler about fifty times a step, and its own dummy is slower."""

    nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self.nothing


def make_trainer(composed: Composed, run: RunDirectory, checkpoint: Any = None) -> tuple[Any, Any]:
    """Lightning's Trainer with the callbacks and loggers that every run has, and those of the configuration.

    ``checkpoint``: the loaded checkpoint that a resumed run continues from.
    """
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
            and any(isinstance(c, ProgressBar) for c in chosen),
            logger=loggers,
            **({} if tree["trainer"]["profiler"] else {"profiler": NoProfiler()}),
            plugins=[AtomicIO(checkpoint)],
            default_root_dir=run.path and str(run.path),
        )
    except Exception as error:
        if refusal := explain_device(error, composed.cfg):
            raise refusal from error
        raise
    return trainer, checkpoints


def log_start(trainer: Any, composed: Composed, run: RunDirectory) -> None:
    """Write environment.json and log the configuration, before the first step."""
    if run.lock is None:
        return
    device, threads = str(trainer.strategy.root_device), torch.get_num_threads()
    write_json(run.path / "environment.json", environment(device, threads))
    for logger in trainer.loggers:
        logger.log_hyperparams({**composed.tree, "choice": composed.choices})
        logger.rows_after_checkpoint = list(run.rows_after_checkpoint)
        if isinstance(logger, CSVLogger):  # it overwrites its file, so log the rows before the resume again
            for row in read_rows(run.path / "metrics.jsonl"):
                metrics = {key: value for key, value in row.items() if value is not None}
                logger.log_metrics(metrics, step=metrics.pop("step"))
