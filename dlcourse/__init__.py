"""dlcourse: an introductory deep-learning lecture as things that run."""

from typing import TYPE_CHECKING

from dlcourse.errors import Refused

if TYPE_CHECKING:
    from dlcourse.runs.fit import Result

__all__ = ["Refused", "run"]


def run(*words: str) -> "Result":
    """Train as ``python train.py WORDS`` does: ``run("model=cnn", "optimizer=adam").metrics["test/acc"]``.

    One process, and no W&B unless ``logger=wandb`` is among the words. Raises `Refused`, with ``.code``, where the
    command would end with that exit code.
    """
    from dlcourse.runs.fit import train
    from dlcourse.runs.resume import planned

    composed, continued = planned(list(words))
    if continued is None and not any(word.startswith("logger=") for word in words):
        composed, continued = planned(["logger=none", *words])
    if composed.multirun:
        raise Refused("run() makes one run; for a sweep use python train.py -m")
    trainer = composed.cfg.trainer
    if str(trainer.devices) not in ("1", "auto") or trainer.num_nodes != 1 or trainer.strategy != "auto":
        raise Refused("run() uses one process; for several use python train.py trainer=ddp")
    return train(composed, continued)
