"""A run from its configuration to its test metrics."""

import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import distributed

from dlcourse.config.compose import Composed
from dlcourse.config.gate import check_classes
from dlcourse.errors import CHECKPOINT, DIVERGED, Diverged, Interrupted, Refused, exit_code, explain
from dlcourse.runs.building import build_seeded, check_processes, first_process, quieten
from dlcourse.runs.checkpoint_file import BEST, LAST, AtomicIO, Checkpoint, has_checkpoint, newest_readable
from dlcourse.runs.checkpoints import Checkpoints
from dlcourse.runs.directory import RunDirectory, from_here
from dlcourse.runs.divergence import locate_divergence
from dlcourse.runs.files import read_rows, write, write_json
from dlcourse.runs.interrupt import handled_by, interrupt
from dlcourse.runs.record import Record
from dlcourse.runs.trainer import log_start, make_trainer
from dlcourse.runs.weights import differences

#: Keys that a checkpoint needs to be resumed from.
REQUIRED_KEYS = (
    *("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "hyper_parameters"),
    *("global_step", "rng", "rows", "stopped"),
)

#: Writes the report of a run directory, given the model, the data and the metrics where there are any.
ReportBuilder = Callable[..., Any]


@dataclass
class Result:
    """The result of a run: final metrics, run directory, and the model with its best weights."""

    metrics: dict[str, float]
    run_dir: Path
    model: Any
    data: Any

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl."""
        return read_rows(self.run_dir / "metrics.jsonl")


def train(composed: Composed, resumed_from: Path | None = None, build_report: ReportBuilder | None = None) -> Result:
    """Build, fit, test the best checkpoint, and write the run directory, whose status is set however the run ends.

    ``resumed_from``: the directory of a run to resume exactly from its last checkpoint. ``build_report`` writes the
    report; without it there is none.
    """
    quieten()
    if not composed.tree["report"]:
        build_report = None
    check_classes(composed.tree, composed.overrides.packages)
    check_processes(composed.tree)
    data, model = build_seeded(composed, resumed_from)
    with handled_by(interrupt):
        run, checkpoint_io = open_directory(composed, resumed_from, model)
        composed = composed.in_directory(run.path)
        code, loggers = 1, []
        try:
            trainer, checkpoints = make_trainer(composed, run, checkpoint_io)
            loggers = trainer.loggers
            log_start(trainer, composed, run)
            try:
                metrics = fit_and_test(trainer, model, data, checkpoints, run, checkpoint_io)
            except Diverged as divergence:
                raise locate_divergence(divergence, composed, run) if trainer.world_size == 1 else divergence from None
            if distributed.is_available() and distributed.is_initialized():
                distributed.destroy_process_group()  # as Lightning does for NCCL; Gloo's threads could abort the exit
            result = Result(metrics, run.path, model, data)
            if run.lock is not None:
                publish(run, result, loggers, build_report)
            code = 0
            return result
        except BaseException as error:
            known = explain(error) or error
            code = exit_code(known)
            if run.lock is not None:
                record_failure(run, known, code, build_report)
            if known is error:
                raise
            raise known from error
        finally:
            for logger in loggers:
                if hasattr(logger, "close"):
                    try:
                        logger.close(code)
                    except Exception as error:  # a logger's error does not change how the run ended
                        print(f"{type(logger).__name__} could not be closed: {error}", file=sys.stderr)
            run.release()


def open_directory(composed: Composed, resumed_from: Path | None, model: Any) -> tuple[RunDirectory, AtomicIO]:
    """The directory of a run, created or locked by the first process, and what loads the checkpoint to resume from."""
    if resumed_from is None:
        return RunDirectory.create(composed) if first_process() else RunDirectory(None), AtomicIO()
    run = RunDirectory(resumed_from)
    if first_process():
        run.acquire()
    try:
        return run, AtomicIO(prepare_resume(run, composed, model))
    except BaseException:
        run.release()
        raise


def prepare_resume(run: RunDirectory, composed: Composed, model: Any) -> Checkpoint | None:
    """The checkpoint to resume from (None: start at step 0); no file changes before it is known to fit.

    Refused: a checkpoint of another model or program, and a run that early stopping ended.
    """
    checkpoint = None
    state: dict[str, Any] = {"rows": 0, "global_step": 0}
    if has_checkpoint(run.path):
        checkpoint, problems = newest_readable(run.checkpoints)
        for problem in problems:
            print(f"{problem}; continuing from {checkpoint.path.name}", file=sys.stderr)
        path, state = checkpoint
        if missing := [key for key in REQUIRED_KEYS if key not in state]:
            raise Refused(f"{path} is not a checkpoint of a dlcourse run: it has no {', '.join(missing)}", CHECKPOINT)
        if difference := differences(model, state["state_dict"]):
            raise Refused(f"{path} belongs to another model: {difference}", CHECKPOINT)
        if state["stopped"] == "early" and (run.path / "metrics.json").exists():
            raise Refused(
                f"early stopping ended {run.path}, so a longer limit would change nothing; "
                "init_from= starts a new run from its weights"
            )
        if problems and run.lock is not None and (run.checkpoints / LAST).exists():
            # Otherwise the next save would replace the good previous checkpoint with the damaged one.
            os.replace(run.checkpoints / LAST, run.checkpoints / "last.damaged.ckpt")
    if run.lock is not None:
        run.reopen(composed, state["rows"], state["global_step"])
    return checkpoint


def record_failure(run: RunDirectory, error: BaseException, code: int, build_report: ReportBuilder | None) -> None:
    """Write status.json, error.txt and the report of a run that did not finish; a full disk only warns."""
    if isinstance(error, Interrupted):
        error.add_note(f"python train.py resume={from_here(run.path)} continues the run")
    try:
        run.status(getattr(error, "status", "failed"), code, str(error).strip() or type(error).__name__)
        if code == 1:
            write(run.path / "error.txt", traceback.format_exc())
    except OSError as error:
        print(f"cannot write {run.path}: {error.strerror}", file=sys.stderr)
    if (run.path / "metrics.jsonl").exists():
        write_report(build_report, run)


def fit_and_test(
    trainer: Any, model: Any, data: Any, checkpoints: Checkpoints, run: RunDirectory, checkpoint_io: AtomicIO
) -> dict[str, float]:
    """Train, then test the best weights; the final metrics, as in metrics.json."""
    record = next(callback for callback in trainer.callbacks if isinstance(callback, Record))
    if model.frozen and run.lock is not None:
        print(f"no gradient reaches {', '.join(model.frozen)}: only the rest is trained", flush=True)
    if data.described and run.lock is not None:
        print(data.described, flush=True)
    if all(not p.requires_grad for p in model.parameters()):
        raise Refused(
            "no parameter gets a gradient: there is nothing to train (is a step activation before every layer?)"
        )
    record.started = time.monotonic()
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint_io.loaded and str(checkpoint_io.loaded.path))
    seconds = record.seconds
    if trainer.global_step == 0:
        raise Refused("no step was trained: check trainer.max_epochs, max_steps and limit_train_batches")
    epochs = trainer.current_epoch
    trainer.test(model, datamodule=data, ckpt_path=str(run.checkpoints / BEST), verbose=False)
    test = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name, value in test.items():
        if not math.isfinite(value):
            raise Refused(f"diverged: {name} is {value} with the best weights", DIVERGED)
    return {
        **test,
        **{name: value for name, value in checkpoints.best.items() if "/" in name},
        "best_epoch": checkpoints.best["epoch"],
        "epochs": epochs,
        "steps": trainer.global_step,
        "seconds": round(seconds, 3),
        "samples_per_s": round(record.samples * trainer.world_size / seconds, 1),
    }


def publish(run: RunDirectory, result: Result, loggers: list[Any], build_report: ReportBuilder | None) -> None:
    """Write the report, log it to W&B, and last write metrics.json, which marks the run as finished."""
    metrics = {**result.metrics, **({"note": result.data.note} if result.data.note else {})}
    run.status("finished", 0)
    report = write_report(build_report, run, result.model, result.data, metrics)
    for logger in loggers:
        if report is not None and hasattr(logger, "log_report"):
            logger.log_report(report)
    write_json(run.path / "metrics.json", metrics)


def write_report(build_report: ReportBuilder | None, run: RunDirectory, *results: Any) -> Any:
    """Write report.html; a failing plot or a full disk only warns, so that the metrics are still written."""
    try:
        return build_report and build_report(run.path, *results)
    except Exception as error:
        if not explain(error):
            traceback.print_exc()
        print(f"the report failed; write it again with python scripts/report.py run={run.path}", file=sys.stderr)
        return None
