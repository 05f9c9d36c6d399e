"""E: words, models and losses that do not fit."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.faults.data import digits
from tests.faults.process import Done
from tests.faults.rows import ABSENT, REFUSED, SILENT, SURVIVED, Outcome, Row, judged
from tests.faults.subjects import Subject

REGRESSION = {
    "dlcourse": ["loss=mse", "task=regression", "data.y=values", "data.outputs=1", "data.classes=null"],
    "plain Lightning": ["regression=true"],
}


def asked(
    subject: Subject, folder: Path, *, words: Sequence[str] = (), named: tuple[str, ...] = (), **wishes: Any
) -> Outcome:
    """Words that should be refused; the plain script has one loss and one mode, which no word can change."""
    if subject.name != "dlcourse" and any(word.startswith(("loss=", "mode=")) for word in words):
        return Outcome(ABSENT, 0)
    run = folder / "run"
    return judged(subject.train(run, *words, **{"epochs": 2, **wishes}), *named, untrained=run)


def fits(subject: Subject, folder: Path, *, activation: str, loss: str, data: str) -> Outcome:
    """A pair that is allowed trains to a finite figure; the plain script has one activation and one loss."""
    if subject.name != "dlcourse":
        return Outcome(ABSENT, 0)
    words = [f"data={data}", f"activation={activation}", f"loss={loss}", "trainer.limit_train_batches=20"]
    return judged(subject.train(folder / "run", *words, epochs=1), wrong=False)


def values(subject: Subject, folder: Path, x: np.ndarray, y: np.ndarray) -> Done:
    """A regression on a user's own arrays."""
    np.savez(folder / "own.npz", x=x.astype(np.float32), y=y)
    return subject.train(folder / "run", *REGRESSION[subject.name], data=folder / "own.npz", epochs=5)


def narrow(subject: Subject, folder: Path) -> Outcome:
    """Values of shape (N,) for outputs of shape (N, 1): broadcast, every output would be fitted to every target."""
    x = np.random.default_rng(0).normal(size=(800, 1, 8, 8))
    done = values(subject, folder, x, x[:, 0, :, 0].sum(1))
    return judged(done, "(800, 1)", "(800,)", untrained=folder / "run")


def diverging(subject: Subject, folder: Path, **wishes: Any) -> Outcome:
    """Training whose loss stops being a number: it ends at once, and nothing of it is kept as best."""
    words = ["optimizer=sgd"] if subject.name == "dlcourse" else ["optimizer._target_=torch.optim.SGD"]
    return stopped(subject.train(folder / "run", *words, epochs=3, **wishes), folder / "run")


def far(subject: Subject, folder: Path) -> Outcome:
    """Every training loss is a number; of a row that only validation reads the squared error is none."""
    x, y = digits()
    np.savez(folder / "sound.npz", x=x, y=y[:, None])
    x[subject.held_out(folder / "sound.npz", REGRESSION[subject.name])] = 1e30
    return stopped(values(subject, folder, x, y[:, None]), folder / "run")


def stopped(done: Done, run: Path) -> Outcome:
    """Told with step and learning rate, and no checkpoint holds what is no number."""
    for path in run.rglob("*.ckpt"):
        weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
            return Outcome(SILENT, done.code, f"{path.name} holds weights that are no numbers\n{done.err}")
    return judged(done, "step", "lr=")


def spelled(word: str, *named: str, plain: str = "") -> Row:
    plain = plain or word
    return Row(f"E1-{word}", f"a typo: {word}", partial(_spelled, ours=word, plain=plain, named=named))


def _spelled(subject: Subject, folder: Path, *, ours: str, plain: str, named: tuple[str, ...]) -> Outcome:
    return asked(subject, folder, words=[ours if subject.name == "dlcourse" else plain], named=named)


ROWS = [
    spelled("optimizr.lr=1", "did you mean optimizer.lr?"),
    spelled("optimizer.lrr=1", "did you mean optimizer.lr?"),
    spelled("scheduler=one_cicle", "did you mean one_cycle?", plain="schedule=one_cicle"),
    spelled("+optimizer.learning_rate=1", "did you mean lr?"),
    *(
        Row(f"E2-{lr}", f"learning rate {lr}", partial(asked, lr=lr, named=("lr",)))
        for lr in ("-1", "0", "nan", "inf", "true", "abc")
    ),
    Row("E2-1e30", "learning rate 1e30", partial(diverging, lr="1e30"), REFUSED, 3),
    *(
        Row(
            f"E3-{activation}-{loss}-{data}",
            f"{activation}, {loss}, {data}",
            partial(fits, activation=activation, loss=loss, data=data),
            SURVIVED,
            0,
        )
        for activation, loss, data in (
            ("tanh", "mse", "digits"),
            ("sigmoid", "bce", "moons"),
            ("softmax", "huber", "sine"),
            ("step", "hinge", "moons"),
        )
    ),
    *(
        Row(
            f"E3-{loss}-{data}",
            f"{loss} cannot fit {data}",
            partial(asked, words=[f"data={data}", f"loss={loss}"], named=(f"loss={loss}", data)),
        )
        for loss, data in (("perceptron", "sine"), ("cross_entropy", "diabetes"), ("bce", "sine"), ("hinge", "linear"))
    ),
    Row("E4", "targets (N,) for outputs (N, 1)", narrow),
    Row("E5-monitor", "a monitor that no step logs", partial(asked, monitor="val/f1", stop_early=2, named=("val/f1",))),
    Row("E5-mode", "a mode the wrong way round", partial(asked, words=["mode=max"], stop_early=2, named=("mode",))),
    Row("E6-loss", "a loss that is no number", partial(diverging, lr="1e12"), REFUSED, 3),
    Row("E6-metric", "a figure of validation that is no number", far, REFUSED, 3),
    Row(
        "E7",
        "a device that is not there",
        partial(asked, accelerator="gpu", named=("This machine has: cpu",)),
        REFUSED,
        5,
    ),
]
