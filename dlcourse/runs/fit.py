"""A run from its configuration to its test metrics."""

import json
import math
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dlcourse.config.compose import Composed
from dlcourse.config.gate import check_classes
from dlcourse.errors import DIVERGED, Diverged, Interrupted, Refused, exit_code, explain
from dlcourse.runs.building import build_seeded, check_processes, quieten
from dlcourse.runs.directory import RunDirectory, from_here
from dlcourse.runs.divergence import locate_divergence
from dlcourse.runs.files import read_rows, write, write_json
from dlcourse.runs.opening import open_directory
from dlcourse.runs.trainer import log_start, make_trainer

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
    from dlcourse.runs.interrupt import interrupt_on_signals

    quieten()
    if not composed.tree["report"]:
        build_report = None
    check_classes(composed.tree, composed.overrides.packages)
    check_processes(composed.tree)
    data, model = build_seeded(composed, resumed_from)
    with interrupt_on_signals():
        run, checkpoint = open_directory(composed, resumed_from, model)
        composed = composed.in_directory(run.path)
        code, loggers = 1, []
        try:
            trainer, checkpoints = make_trainer(composed, run, checkpoint)
            loggers = trainer.loggers
            log_start(trainer, composed, run)
            try:
                checkpoint_path = checkpoint and checkpoint.path
                del checkpoint  # the trainer keeps the loaded checkpoint until it has restored it
                metrics = fit_and_test(trainer, model, data, checkpoints, run, checkpoint_path)
            except Diverged as divergence:
                raise locate_divergence(divergence, composed, run) if trainer.world_size == 1 else divergence from None
            destroy_process_group()
            if run.lock is not None:
                publish(run, model, data, metrics, loggers, build_report)
            code = 0
            return Result(metrics, run.path, model, data)  # type: ignore[arg-type]
        except BaseException as error:
            refusal = explain(error)
            code = exit_code(refusal or error)
            interrupted = isinstance(error, Interrupted)
            if interrupted and run.lock is not None:
                error.add_note(f"python train.py resume={from_here(run.path)} continues the run")  # type: ignore[arg-type]
            status = getattr(error, "status", "interrupted" if interrupted else "failed")
            reason = str(refusal or error).strip() or type(error).__name__
            record_failure(run, status, code, reason, build_report)
            if refusal is not None:
                raise refusal from error
            raise
        finally:
            for logger in loggers:
                if hasattr(logger, "close"):
                    try:
                        logger.close(code)
                    except Exception as error:  # a logger's error does not change how the run ended
                        print(f"{type(logger).__name__} could not be closed: {error}", file=sys.stderr)
            run.release()


def record_failure(run: RunDirectory, status: str, code: int, reason: str, build_report: ReportBuilder | None) -> None:
    """Write status.json, error.txt and the report of a run that did not finish; a full disk only warns."""
    if run.lock is None or run.path is None:
        return
    try:
        run.status(status, code, reason)
        if code == 1:
            write(run.path / "error.txt", traceback.format_exc())
    except OSError as error:
        print(f"cannot write {run.path}: {error.strerror}", file=sys.stderr)
    if build_report is not None and (run.path / "metrics.jsonl").exists():
        write_report(build_report, run)


def fit_and_test(
    trainer: Any, model: Any, data: Any, checkpoints: Any, run: RunDirectory, checkpoint: Path | None
) -> dict[str, float]:
    """Train, then test the best weights; the final metrics, as in metrics.json."""
    from dlcourse.runs.checkpoints import BEST
    from dlcourse.runs.record import Record

    record = next(callback for callback in trainer.callbacks if isinstance(callback, Record))
    if model.frozen and run.lock is not None:
        print(f"no gradient reaches {', '.join(model.frozen)}: only the rest is trained", flush=True)
    if all(not p.requires_grad for p in model.parameters()):
        raise Refused(
            "no parameter gets a gradient: there is nothing to train (is a step activation before every layer?)"
        )
    record.started = time.monotonic()
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint and str(checkpoint))
    seconds = record.seconds
    if trainer.global_step == 0:
        raise Refused("no step was trained: check trainer.max_epochs, max_steps and limit_train_batches")
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
        "samples_per_s": round(record.samples * trainer.world_size / seconds, 1),
    }


def destroy_process_group() -> None:
    """Leave the process group: Gloo's threads could abort this process at exit (Lightning does this for NCCL)."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def publish(
    run: RunDirectory,
    model: Any,
    data: Any,
    metrics: dict[str, float],
    loggers: list[Any],
    build_report: ReportBuilder | None,
) -> None:
    """Write the report, log it to W&B, and last write metrics.json, which marks the run as finished."""
    if data.note:
        metrics = {**metrics, "note": data.note}  # type: ignore[dict-item]
    run.status("finished", 0)
    report = write_report(build_report, run, model, data, metrics) if build_report is not None else None
    for logger in loggers:
        if report is not None and hasattr(logger, "log_report"):
            logger.log_report(report)
    write_json(run.path / "metrics.json", metrics)  # type: ignore[operator]


def write_report(build_report: ReportBuilder, run: RunDirectory, *results: Any) -> Any:
    """Write report.html; a failing plot or a full disk only warns, so that the metrics are still written."""
    assert run.path is not None
    try:
        return build_report(run.path, *results)
    except Exception as error:
        if not explain(error):
            traceback.print_exc()
        print(f"the report failed; write it again with python scripts/report.py run={run.path}", file=sys.stderr)
        return None


def final_metrics(run_dir: Path) -> dict[str, Any] | None:
    """The final metrics of a run, or None if it is not finished."""
    path = run_dir / "metrics.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
