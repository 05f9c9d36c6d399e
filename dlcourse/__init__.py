"""dlcourse: an introductory deep-learning lecture as experiments."""

from typing import TYPE_CHECKING

from dlcourse.errors import Refused

if TYPE_CHECKING:
    from dlcourse.runs.fit import Result

__all__ = ["Refused", "run"]


def run(*words: str) -> "Result":
    """Train as ``python train.py WORDS`` does: ``run("model=cnn", "optimizer=adam").metrics["test/acc"]``.

    One process, and no W&B unless ``logger=wandb`` is given. Raises `Refused`, whose ``.code`` is the exit code of the
    command.
    """
    from dlcourse.config.overrides import Overrides
    from dlcourse.report import build_report
    from dlcourse.runs.fit import train
    from dlcourse.runs.resume import new_or_resumed_run

    overrides = Overrides.parse(words)
    composed, continued = new_or_resumed_run(overrides, () if "logger" in overrides else ("logger=none",))
    if composed.multirun:
        raise Refused("run() trains a single run; for a sweep use python train.py -m")
    trainer = composed.cfg.trainer
    if str(trainer.devices) not in ("1", "auto") or trainer.num_nodes != 1 or trainer.strategy != "auto":
        raise Refused("run() uses one process; for several use python train.py trainer=ddp")
    return train(composed, continued, build_report)
