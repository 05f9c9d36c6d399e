"""A run from its configuration to its test figures."""

import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dlcourse.config import Composed, resolve
from dlcourse.errors import Refused, explain, explain_device
from dlcourse.gate import inspect_targets
from dlcourse.restore import rewind, start_from
from dlcourse.rundir import RunDirectory, environment, read_rows, write, write_json

SMALL_STEP = 1e8  # floating-point operations


@dataclass
class Result:
    """What a run leaves: its final figures, its directory, and the model with its best weights."""

    metrics: dict[str, float]
    run_dir: Path
    model: Any
    data: Any

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl."""
        return read_rows(self.run_dir / "metrics.jsonl")


def first_process() -> bool:
    """Whether this is the process that writes: rank 0, as launchers announce it before anything is set up."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def build(cfg: DictConfig) -> tuple[Any, Any]:
    """The data and the model that a configuration describes; what their constructors refuse is refused."""
    from hydra.utils import instantiate

    tree = resolve(cfg)
    try:
        return instantiate(tree["data"], _convert_="all"), instantiate(tree["model"], _convert_="all")
    except Exception as error:
        if known := explain(error):
            raise known from error
        raise


def train(composed: Composed, continued: Path | None = None) -> Result:
    """Build, fit, test the best checkpoint, and write the run directory; every way out leaves its status behind.

    ``continued`` is the directory of a run to go on with, exactly where its last checkpoint stands.
    """
    import lightning.pytorch as pl

    quieten()
    cfg = composed.cfg
    inspect_targets(resolve(cfg), composed.allowed)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data, model = build(cfg)
    use_threads(model, data)
    if cfg.init_from:
        start_from(model, cfg.init_from, cfg.init_from_skip)
    run = RunDirectory(continued)
    if first_process():
        run = RunDirectory.reopen(continued, composed) if continued else RunDirectory.create(composed)
    cfg.run_dir = run.path and str(run.path)
    code, loggers = 1, []
    try:
        checkpoint = rewind(run) if continued else None
        trainer, checkpoints = make_trainer(cfg, composed.choices, run)
        loggers = trainer.loggers
        metrics = fit_and_test(trainer, model, data, checkpoints, run, checkpoint)
        if run.lock is not None:
            publish(run, model, data, metrics, loggers)
        code = 0
        return Result(metrics, run.path, model, data)  # type: ignore[arg-type]
    except BaseException as error:
        known = explain(error)
        code = getattr(known or error, "code", 1)
        code = code if isinstance(code, int) else 1
        ending = "interrupted" if code > 128 else "failed"
        run.status(ending, code, str(known or error).strip() or type(error).__name__)
        if run.lock is not None and code == 1:
            write(run.path / "error.txt", traceback.format_exc())  # type: ignore[operator]
        if run.lock is not None and (run.path / "metrics.jsonl").exists():  # type: ignore[operator]
            report(run)
        if known is not None:
            raise known from error
        raise
    finally:
        for logger in loggers:
            if hasattr(logger, "close"):
                logger.close(code)
        run.release()


def use_threads(model: Any, data: Any) -> None:
    """One thread for small steps: sharing them out costs more than it saves, and far more on a busy machine."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    if "OMP_NUM_THREADS" in os.environ:
        return
    from dlcourse.inference import at_rest

    with at_rest(model), FlopCounterMode(display=False) as counter:
        model(model.example_input_array)
    rows = 512 if data.batch_size == "full" else data.batch_size
    step = 3 * counter.get_total_flops() / len(model.example_input_array) * rows  # forward, and twice that backward
    torch.set_num_threads(1 if step < SMALL_STEP else torch.get_num_threads())


def make_trainer(cfg: DictConfig, choices: dict[str, str], run: RunDirectory) -> tuple[Any, Any]:
    """Lightning's Trainer, with what belongs to every run beside what the configuration chose."""
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import ProgressBar

    from dlcourse.callbacks.checkpoints import AtomicIO, Checkpoints
    from dlcourse.callbacks.interrupt import Interrupt
    from dlcourse.callbacks.record import Record
    from dlcourse.loggers import MetricsFile

    tree = resolve(cfg)
    plain = {"model": tree["model"], "data": tree["data"], "choice": choices}
    checkpoints = Checkpoints(run, cfg.monitor, cfg.mode, cfg.checkpoint.every, plain)
    chosen = [instantiate(node) for node in tree["callbacks"].values() if node]
    callbacks = [Record(run), Interrupt(checkpoints), *chosen, checkpoints]
    loggers: list[Any] = []
    if run.lock is not None:
        assert run.path is not None
        nodes = [node for node in tree["logger"].values() if isinstance(node, dict) and "_target_" in node]
        loggers = [MetricsFile(run.path / "metrics.jsonl"), *map(instantiate, nodes)]
        for logger in loggers:
            logger.log_hyperparams({**tree, "choice": choices})
            logger.surplus = list(run.surplus)
    try:
        trainer = instantiate(
            tree["trainer"],
            _convert_="all",
            callbacks=callbacks,
            # without a progress callback there is none: Lightning would add its own
            enable_progress_bar=cfg.trainer.enable_progress_bar and any(isinstance(c, ProgressBar) for c in chosen),
            logger=loggers,
            plugins=[AtomicIO()],
            default_root_dir=run.path and str(run.path),
        )
    except Exception as error:
        if known := explain_device(error, cfg):
            raise known from error
        raise
    if run.lock is not None:
        import torch

        write_json(
            run.path / "environment.json",  # type: ignore[operator]
            environment(str(trainer.strategy.root_device), torch.get_num_threads()),
        )
    return trainer, checkpoints


def fit_and_test(
    trainer: Any, model: Any, data: Any, checkpoints: Any, run: RunDirectory, checkpoint: Path | None
) -> dict[str, float]:
    """Train, then test the weights that validation chose; metrics.json is written last."""
    from dlcourse.callbacks.checkpoints import BEST
    from dlcourse.callbacks.interrupt import Interrupted

    started = time.monotonic()
    if model.frozen and run.lock is not None:
        print(f"no gradient reaches {', '.join(model.frozen)}: the rest trains", flush=True)
    if all(not p.requires_grad for p in model.parameters()):
        raise Refused("no parameter gets a gradient: nothing could train (is a step activation before every layer?)")
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint and str(checkpoint))
    seconds = time.monotonic() - started
    interrupt = next(c for c in trainer.callbacks if hasattr(c, "received"))
    if interrupt.received:
        raise Interrupted(interrupt.received)
    if trainer.global_step == 0:
        raise Refused("no step was trained: look at trainer.max_epochs, max_steps and limit_train_batches")
    epochs = trainer.current_epoch
    trainer.test(model, datamodule=data, ckpt_path=str(checkpoints.folder / BEST), verbose=False)
    test = {name: float(value) for name, value in trainer.callback_metrics.items()}
    samples = len(data.sets["train"]) * epochs
    best = {name: value for name, value in checkpoints.best.items() if "/" in name}
    return {
        **test,
        **best,
        "best_epoch": checkpoints.best["epoch"],
        "epochs": epochs,
        "steps": trainer.global_step,
        "seconds": round(seconds, 3),
        "samples_per_s": round(samples / seconds, 1),
    }


def publish(run: RunDirectory, model: Any, data: Any, metrics: dict[str, float], loggers: list[Any]) -> None:
    """The report, what W&B shows of it, and at the very end the figures that mean finished."""
    if data.note:
        metrics = {**metrics, "note": data.note}  # type: ignore[dict-item]
    run.status("finished", 0)
    page = report(run, model, data, metrics)
    for logger in loggers:
        if page is not None and hasattr(logger, "log_report"):
            logger.log_report(page)
    write_json(run.path / "metrics.json", metrics)  # type: ignore[operator]


def report(run: RunDirectory, *known: Any) -> Any:
    """Make report.html; a picture that fails must not cost the run its figures."""
    from dlcourse.report.page import build_report

    assert run.path is not None
    try:
        return build_report(run.path, *known)
    except Exception:
        traceback.print_exc()
        print(f"the report failed; python scripts/report.py run={run.path} makes it again", file=sys.stderr)
        return None


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
        ".*LeafSpec.*",  # Lightning's own use of torch
    ):
        warnings.filterwarnings("ignore", message)


def finished(run_dir: Path) -> dict[str, Any] | None:
    """The final figures of a run, if it has them."""
    path = run_dir / "metrics.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
