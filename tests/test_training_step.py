"""Which of our files one training step enters, and that each stage of the configuration sees a command once."""

import sys
from collections import Counter
from pathlib import Path

import lightning.pytorch as pl
import pytest

import dlcourse
from dlcourse.runs import trainer as trainers
from tests.composing import checked

PACKAGE = Path(dlcourse.__file__).parent
#: A step: its batch, the task, the model, the loss, the metrics. The activations are PyTorch's, and a run's own task,
#: model and loss may have a file each.
PATH = {"data/loading.py", "data/base.py", "tasks/base.py", "models/base.py", "losses.py", "metrics.py"}
SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=6", "logger=none", "callbacks=none", "report=false"]


class Watch(pl.Callback):
    """From the end of one training batch to that of the next: the files of the library whose functions run."""

    def __init__(self) -> None:
        self.files: set[str] = set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if batch_idx == 2:
            sys.setprofile(self.enter)
        elif batch_idx == 3:
            sys.setprofile(None)

    def enter(self, frame, event: str, argument) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            self.files.add(path.relative_to(PACKAGE).as_posix())


@pytest.mark.parametrize(
    ("words", "own"),
    [
        ([], {"models/mlp.py", "tasks/supervised.py", "cross_entropies.py"}),
        (["model=cnn"], {"models/cnn.py", "tasks/supervised.py", "cross_entropies.py"}),
        (["data=diabetes"], {"models/mlp.py", "tasks/supervised.py"}),
        (["data=topics", "data.n_samples=300"], {"models/mlp.py", "tasks/supervised.py", "cross_entropies.py"}),
        (["model=autoencoder"], {"models/autoencoder.py", "tasks/reconstruction.py"}),
    ],
    ids=lambda words: "_".join(words) if isinstance(words, list) else "",
)
def test_a_step_enters_few_files(words: list[str], own: set[str], monkeypatch, tmp_path: Path) -> None:
    watch = Watch()
    original = trainers.make_trainer

    def make_trainer(*arguments):
        trainer, checkpoints = original(*arguments)
        trainer.callbacks.append(watch)
        return trainer, checkpoints

    monkeypatch.setattr("dlcourse.runs.fit.make_trainer", make_trainer)
    dlcourse.run(*words, *SHORT, f"run_dir={tmp_path / 'run'}")
    accompanying = {name for name in watch.files if name.startswith(("runs/", "callbacks/"))}
    assert watch.files - accompanying <= PATH | own, sorted(watch.files)
    assert {"models/base.py", "losses.py", "data/loading.py", "metrics.py"} <= watch.files
    assert not [
        name for name in watch.files if name.startswith(("config/", "report/", "sweeps/", "measures/", "plots/"))
    ]


STAGES = ("compose", "complete", "check_added", "check_overrides", "check_targets", "check_rules", "explain_mode")


def test_a_command_passes_each_stage_of_the_configuration_once() -> None:
    entered: Counter[str] = Counter()
    folder = str(PACKAGE / "config")

    def enter(frame, event: str, argument) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            entered[frame.f_code.co_name] += 1

    sys.setprofile(enter)
    try:
        checked(["model=cnn", "optimizer=adam", "optimizer.lr=0.01", "data=digits"])
    finally:
        sys.setprofile(None)
    assert {stage: entered[stage] for stage in STAGES} == dict.fromkeys(STAGES, 1)
    assert entered["_parse"] == entered["_check"] == 4, "each word is parsed and checked once"
