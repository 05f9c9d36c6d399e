"""Build Lightning's Trainer for a run, and log the configuration."""

from typing import Any

from dlcourse.config.compose import Composed
from dlcourse.errors import explain_device
from dlcourse.runs.directory import RunDirectory
from dlcourse.runs.environment import environment
from dlcourse.runs.files import read_rows, write_json


def make_trainer(composed: Composed, run: RunDirectory, checkpoint: Any = None) -> tuple[Any, Any]:
    """Lightning's Trainer with the callbacks and loggers that every run has, and those of the configuration.

    ``checkpoint``: the loaded checkpoint that a resumed run continues from.
    """
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import ProgressBar

    from dlcourse.runs.checkpoint_file import AtomicIO
    from dlcourse.runs.checkpoints import Checkpoints
    from dlcourse.runs.interrupt import Interrupt
    from dlcourse.runs.loggers import MetricsFile
    from dlcourse.runs.profiler import NoProfiler
    from dlcourse.runs.record import Record

    tree = composed.tree
    hyper_parameters = {"model": tree["model"], "data": tree["data"], "choice": composed.choices}
    checkpoints = Checkpoints(run, tree["monitor"], tree["mode"], tree["checkpoint"]["every"], hyper_parameters)
    chosen = [instantiate(node) for node in tree["callbacks"].values() if node]
    callbacks = [Record(run), *chosen, Interrupt(checkpoints), checkpoints]
    loggers: list[Any] = []
    if run.lock is not None:
        assert run.path is not None
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
    import torch
    from lightning.pytorch.loggers import CSVLogger

    if run.lock is None:
        return
    assert run.path is not None
    device, threads = str(trainer.strategy.root_device), torch.get_num_threads()
    write_json(run.path / "environment.json", environment(device, threads))
    for logger in trainer.loggers:
        logger.log_hyperparams({**composed.tree, "choice": composed.choices})
        logger.rows_after_checkpoint = list(run.rows_after_checkpoint)
        if isinstance(logger, CSVLogger):  # it overwrites its file, so log the rows before the resume again
            for row in read_rows(run.path / "metrics.jsonl"):
                metrics = {key: value for key, value in row.items() if value is not None}
                logger.log_metrics(metrics, step=metrics.pop("step"))
