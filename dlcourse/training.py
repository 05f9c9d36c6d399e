"""A run from its configuration to its test figures."""

import json
import math
import os
import sys
import time
import traceback
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dlcourse.building import build, quieten
from dlcourse.config import Composed, resolve
from dlcourse.errors import DIVERGED, Diverged, Interrupted, Refused, exit_code, explain, explain_device
from dlcourse.gate import inspect_targets
from dlcourse.restore import has_checkpoint, rewind, start_from
from dlcourse.rundir import RunDirectory, environment, from_here, read_rows, write, write_json


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


def train(composed: Composed, continued: Path | None = None) -> Result:
    """Build, fit, test the best checkpoint, and write the run directory; every way out leaves its status behind.

    ``continued`` is the directory of a run to go on with, exactly where its last checkpoint stands.
    """
    from dlcourse.callbacks.interrupt import stoppable

    quieten()
    cfg = composed.cfg
    inspect_targets(resolve(cfg), composed.allowed)
    check_processes(cfg)
    data, model = made(cfg, continued)
    with stoppable():
        run, checkpoint = open_directory(composed, continued, model)
        cfg.run_dir = run.path and str(run.path)
        code, loggers = 1, []
        try:
            trainer, checkpoints = make_trainer(cfg, composed.choices, run)
            loggers = trainer.loggers
            begin(trainer, cfg, composed.choices, run)
            try:
                metrics = fit_and_test(trainer, model, data, checkpoints, run, checkpoint)
            except Diverged as divergence:
                raise located(divergence, cfg, run) if trainer.world_size == 1 else divergence from None
            part()
            if run.lock is not None:
                publish(run, model, data, metrics, loggers, cfg.report)
            code = 0
            return Result(metrics, run.path, model, data)  # type: ignore[arg-type]
        except BaseException as error:
            known = explain(error)
            code = exit_code(known or error)
            interrupted = isinstance(error, Interrupted)
            if interrupted and run.lock is not None:
                error.add_note(f"python train.py resume={from_here(run.path)} continues the run")  # type: ignore[arg-type]
            status = getattr(error, "status", "interrupted" if interrupted else "failed")
            leave(run, status, code, str(known or error).strip() or type(error).__name__, cfg.report)
            if known is not None:
                raise known from error
            raise
        finally:
            for logger in loggers:
                if hasattr(logger, "close"):
                    try:
                        logger.close(code)
                    except Exception as error:  # what a server says of a finished run does not change its end
                        print(f"{type(logger).__name__} could not be closed: {error}", file=sys.stderr)
            run.release()


def made(cfg: DictConfig, continued: Path | None = None) -> tuple[Any, Any]:
    """The data and the model of a run as they are before its first step, and so the state of chance.

    One that is ``continued`` from a checkpoint has its own weights there, and asks for no other run's.
    """
    import lightning.pytorch as pl

    from dlcourse.pace import settle

    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data, model = build(cfg)
    settle(model, data)
    if cfg.init_from and not (continued and has_checkpoint(continued)):
        start_from(model, cfg.init_from, cfg.init_from_skip)
    return data, model


def check_processes(cfg: DictConfig) -> None:
    """A launcher's processes and the trainer's must be as many, or one would train and the others wait."""
    started = int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if started > 1 and cfg.trainer.strategy == "auto":
        raise Refused(f"{started} processes were started for a trainer of one; add trainer=ddp trainer.devices=…")


def open_directory(composed: Composed, continued: Path | None, model: Any) -> tuple[RunDirectory, Path | None]:
    """The directory of a run, made or locked by the first process, and the checkpoint that it goes on from."""
    run = RunDirectory(continued)
    if not first_process():
        return run, rewind(run, composed, model) if continued else None
    if continued is None:
        return RunDirectory.create(composed), None
    run.acquire()
    try:
        return run, rewind(run, composed, model)
    except BaseException:
        run.release()
        raise


def leave(run: RunDirectory, status: str, code: int, reason: str, page: bool) -> None:
    """What a run that did not finish says of itself, as far as the disk takes it."""
    if run.lock is None or run.path is None:
        return
    try:
        run.status(status, code, reason)
        if code == 1:
            write(run.path / "error.txt", traceback.format_exc())
    except OSError as error:
        print(f"cannot write {run.path}: {error.strerror}", file=sys.stderr)
    if page and (run.path / "metrics.jsonl").exists():
        report(run)


def make_trainer(cfg: DictConfig, choices: dict[str, str], run: RunDirectory) -> tuple[Any, Any]:
    """Lightning's Trainer, with what belongs to every run beside what the configuration chose."""
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import ProgressBar

    from dlcourse.callbacks.checkpoints import AtomicIO, Checkpoints
    from dlcourse.callbacks.interrupt import Interrupt
    from dlcourse.callbacks.record import Record
    from dlcourse.loggers import MetricsFile
    from dlcourse.pace import Unwatched

    tree = resolve(cfg)
    plain = {"model": tree["model"], "data": tree["data"], "choice": choices}
    checkpoints = Checkpoints(run, cfg.monitor, cfg.mode, cfg.checkpoint.every, plain)
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
            # without a progress callback there is none: Lightning would add its own
            enable_progress_bar=cfg.trainer.enable_progress_bar and any(isinstance(c, ProgressBar) for c in chosen),
            logger=loggers,
            **({} if tree["trainer"]["profiler"] else {"profiler": Unwatched()}),
            plugins=[AtomicIO()],
            default_root_dir=run.path and str(run.path),
        )
    except Exception as error:
        if known := explain_device(error, cfg):
            raise known from error
        raise
    return trainer, checkpoints


def begin(trainer: Any, cfg: DictConfig, choices: dict[str, str], run: RunDirectory) -> None:
    """What is known of a run before its first step: where it runs, and for the loggers its configuration."""
    import torch
    from lightning.pytorch.loggers import CSVLogger

    if run.lock is None:
        return
    assert run.path is not None
    device, threads = str(trainer.strategy.root_device), torch.get_num_threads()
    write_json(run.path / "environment.json", environment(device, threads))
    for logger in trainer.loggers:
        logger.log_hyperparams({**resolve(cfg), "choice": choices})
        logger.surplus = list(run.surplus)
        if isinstance(logger, CSVLogger):  # it begins its file anew, so the rows of an earlier life come first
            for row in read_rows(run.path / "metrics.jsonl"):
                known = {key: value for key, value in row.items() if value is not None}
                logger.log_metrics(known, step=known.pop("step"))


def fit_and_test(
    trainer: Any, model: Any, data: Any, checkpoints: Any, run: RunDirectory, checkpoint: Path | None
) -> dict[str, float]:
    """Train, then test the weights that validation chose; metrics.json is written last."""
    from dlcourse.callbacks.checkpoints import BEST
    from dlcourse.callbacks.record import Record

    record = next(callback for callback in trainer.callbacks if isinstance(callback, Record))
    if model.frozen and run.lock is not None:
        print(f"no gradient reaches {', '.join(model.frozen)}: the rest trains", flush=True)
    if all(not p.requires_grad for p in model.parameters()):
        raise Refused("no parameter gets a gradient: nothing could train (is a step activation before every layer?)")
    record.started = time.monotonic()
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint and str(checkpoint))
    seconds = record.seconds
    if trainer.global_step == 0:
        raise Refused("no step was trained: look at trainer.max_epochs, max_steps and limit_train_batches")
    epochs = trainer.current_epoch
    trainer.test(model, datamodule=data, ckpt_path=str(checkpoints.folder / BEST), verbose=False)
    test = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name, value in test.items():
        if not math.isfinite(value):
            raise Refused(f"diverged: {name} is {value} with the best weights", DIVERGED)
    best = {name: value for name, value in checkpoints.best.items() if "/" in name}
    return {
        **test,
        **best,
        "best_epoch": checkpoints.best["epoch"],
        "epochs": epochs,
        "steps": trainer.global_step,
        "seconds": round(seconds, 3),
        "samples_per_s": round(record.rows * trainer.world_size / seconds, 1),
    }


def located(divergence: Diverged, cfg: DictConfig, run: RunDirectory) -> Diverged:
    """A divergence with the layer and the sample where it began: the same steps again, since a resume is exact.

    They begin at the last checkpoint, or at the start where there is none. Callbacks that a person added take no
    part; if it does not come about without them, nothing more is said.
    """
    import warnings

    from hydra.utils import instantiate

    from dlcourse.callbacks.checkpoints import LAST, AtomicIO
    from dlcourse.callbacks.divergence import Located, Watch

    assert run.path is not None
    checkpoint = run.path / "checkpoints" / LAST
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    tree = {**resolve(cfg)["trainer"], **quiet, "profiler": None}
    try:
        data, model = made(cfg, run.path)
        trainer = instantiate(tree, _convert_="all", callbacks=[Watch(divergence.step)], plugins=[AtomicIO()])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")
            trainer.fit(model, datamodule=data, ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    except Located as place:
        return Diverged(divergence.what, divergence.way_out, divergence.step, f"recomputed: {place}" * bool(str(place)))
    except Exception as error:  # it is to explain an error, not to hide it behind another
        print(f"the divergence could not be recomputed: {type(error).__name__}: {error}", file=sys.stderr)
    return divergence


def part() -> None:
    """Leave the other processes: Gloo's threads could abort this one at its end (for NCCL Lightning does it)."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def publish(
    run: RunDirectory, model: Any, data: Any, metrics: dict[str, float], loggers: list[Any], page: bool
) -> None:
    """The report, what W&B shows of it, and at the very end the figures that mean finished."""
    if data.note:
        metrics = {**metrics, "note": data.note}  # type: ignore[dict-item]
    run.status("finished", 0)
    made = report(run, model, data, metrics) if page else None
    for logger in loggers:
        if made is not None and hasattr(logger, "log_report"):
            logger.log_report(made)
    write_json(run.path / "metrics.json", metrics)  # type: ignore[operator]


def report(run: RunDirectory, *known: Any) -> Any:
    """Make report.html; a picture that fails, or a full disk, must not cost the run its figures."""
    from dlcourse.report.page import build_report

    assert run.path is not None
    try:
        return build_report(run.path, *known)
    except Exception as error:
        if not explain(error):
            traceback.print_exc()
        print(f"the report failed; python scripts/report.py run={run.path} makes it again", file=sys.stderr)
        return None


def finished(run_dir: Path) -> dict[str, Any] | None:
    """The final figures of a run, if it has them."""
    path = run_dir / "metrics.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
