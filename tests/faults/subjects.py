"""Who is put to the test: dlcourse, and a plain Lightning script; the same wishes in the words of each."""

import atexit
import hashlib
import json
import shutil
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from dlcourse.config.groups import CHECKOUT
from dlcourse.data.base import Split
from dlcourse.data.images import Digits
from dlcourse.runs.building import build
from tests.composing import checked
from tests.faults.process import Done, Fault, Running, start
from tests.scene_parts import BOXES, MASKS


class Subject(ABC):
    """A training command. ``wishes``: what both can do, under the plain script's names (plain/config.yaml)."""

    name: str
    script: Path
    epoch: int  # steps of an epoch of the digits, in batches of 128

    @abstractmethod
    def words(self, run: Path, wishes: dict[str, Any]) -> list[str]: ...

    @abstractmethod
    def resuming(self, run: Path, wishes: dict[str, Any]) -> list[str]: ...

    @abstractmethod
    def sweeping(self, folder: Path) -> list[str]:
        """The words of a sweep whose trials lie in ``folder``, 0000 the first."""

    @abstractmethod
    def checkpoints(self, run: Path) -> list[Path]:
        """What a resume may read, the newest first."""

    def has_ended(self, run: Path) -> bool:
        """Whether it was trained to its end."""
        path = self.checkpoints(run)[0]
        return path.exists() and torch.load(path, weights_only=True)["global_step"] == 3 * self.epoch

    @abstractmethod
    def held_out(self, file: Path, words: list[str]) -> int:
        """A row of a user's own arrays that validation reads and training does not."""

    def start(
        self, run: Path, *more: str, fault: Fault | None = None, env: dict[str, str] | None = None, **wishes: Any
    ) -> Running:
        return start(self.script, [*self.words(run, wishes), *more], fault, **(env or {}))

    def train(
        self, run: Path, *more: str, fault: Fault | None = None, env: dict[str, str] | None = None, **wishes: Any
    ) -> Done:
        return self.start(run, *more, fault=fault, env=env, **wishes).end()

    def resume(self, run: Path, *more: str, **wishes: Any) -> Done:
        return start(self.script, [*self.resuming(run, wishes), *more]).end()

    @cache  # noqa: B019
    def _straight(self, wishes: tuple[tuple[str, Any], ...]) -> Path:
        folder = mkdtemp(prefix="straight-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        run = Path(folder) / "run"
        done = self.train(run, **dict(wishes))
        assert done.code == 0, done.err
        return run

    def straight(self, **wishes: Any) -> Path:
        """The run that nothing befell."""
        return self._straight(tuple(sorted(wishes.items())))

    def rows(self, run: Path) -> str:
        """What else must be the same."""
        return ""

    def same(self, run: Path, other: Path) -> bool:
        """To the bit: all weights, last and best, the optimizer's state, every row of figures."""
        return digest(self.checkpoints(run)[0]) == digest(self.checkpoints(other)[0]) and self.rows(run) == self.rows(
            other
        )


class Dlcourse(Subject):
    name = "dlcourse"
    script = CHECKOUT / "train.py"
    epoch = 11
    base = ("trainer=cpu", "logger=none", "callbacks=none", "trainer.log_every_n_steps=3", "checkpoint.every=2steps")
    keys = {
        "hidden": "model.hidden=[{}]",
        "dropout": "model.dropout={}",
        "batch_size": "data.batch_size={}",
        "workers": "data.num_workers={}",
        "epochs": "trainer.max_epochs={}",
        "accumulate": "trainer.accumulate_grad_batches={}",
        "schedule": "scheduler={}",
        "stop_early": "callbacks=early_stopping callbacks.early_stopping.patience={}",
        "lr": "optimizer.lr={}",
        "accelerator": "trainer.accelerator={}",
        "batch_norm": "model.norm=batch",
        "augment": "data.augment=shift",
        "target": "data.target={}",
    }

    def words(self, run: Path, wishes: dict[str, Any]) -> list[str]:
        wishes = {"hidden": 16, "batch_size": 128, "epochs": 3, **wishes}
        words = [*self.base, f"run_dir={run}"]
        data = str(wishes.pop("data", ""))
        if data.endswith(".csv"):
            words += ["data=csv", f"data.path={data}"]
        elif data.endswith(".npz"):  # the arrays of a user's own data set
            words += ["++data._target_=tests.faults.subjects.Given", f"+data.file={data}", "allow=[tests.faults]"]
        elif data:
            words += [f"data={data}"]
        if "data_dir" in wishes:
            words += [f"paths.data_dir={wishes.pop('data_dir')}"]
        for key, value in wishes.items():
            words += self.keys[key].format(value).split() if key in self.keys else [f"{key}={value}"]
        return words

    def resuming(self, run: Path, wishes: dict[str, Any]) -> list[str]:
        return [f"resume={run}", "allow=[tests.faults]"]

    def sweeping(self, folder: Path) -> list[str]:
        words = [word for word in self.words(folder, {}) if not word.startswith("run_dir=")]
        return ["-m", *words, f"sweep_dir={folder}", "sweep.workers=2"]

    def checkpoints(self, run: Path) -> list[Path]:
        return [run / "checkpoints" / name for name in ("last.ckpt", "last.prev.ckpt")]

    def held_out(self, file: Path, words: list[str]) -> int:
        data, _ = build(checked([*self.words(file, {"data": file}), *words]).tree)
        data.setup()
        return int(data.sets["val"].index[0])

    def rows(self, run: Path) -> str:
        return (run / "metrics.jsonl").read_text("utf-8") + digest(run / "checkpoints" / "best.ckpt")


class OfWords(Dlcourse):
    """dlcourse with other tasks and models; its words are given, and wishes are not for it. ``epoch``: its steps."""

    base = (*Dlcourse.base[:3], "trainer.log_every_n_steps=2", Dlcourse.base[4], "trainer.max_epochs=3")

    def __init__(self, *given: str, batch_size: int = 128, epoch: int = Dlcourse.epoch):
        self.given, self.epoch = [*given, f"data.batch_size={batch_size}"], epoch

    def words(self, run: Path, wishes: dict[str, Any]) -> list[str]:
        assert not wishes
        return [*self.base, *self.given, f"run_dir={run}"]

    def resuming(self, run: Path, wishes: dict[str, Any]) -> list[str]:
        return [f"resume={run}", "allow=[tests]"]


#: Runs by what they draw, learn from or train that others do not.
KINDS = {
    "masks": OfWords(*MASKS, batch_size=64, epoch=6),  # 360 scenes
    "boxes": OfWords(*BOXES, batch_size=64, epoch=6),
    "noise": OfWords("model=latent_diffusion", "model.hidden=[16]", "model.code=2", "model.width=16"),
    "codes": OfWords("task=embedding", "loss=arcface", "model.hidden=[16]", "task.outputs=4"),
    "layers": OfWords("model=greedy_mlp", "model.hidden=[12,9]", "model.epochs_per_layer=1", "data.labelled=200"),
}


class PlainLightning(Subject):
    name = "plain Lightning"
    script = Path(__file__).parent / "plain" / "train.py"
    epoch = 10
    keys = {"lr": "optimizer.lr"}

    def words(self, run: Path, wishes: dict[str, Any]) -> list[str]:
        return [f"run_dir={run}", *(f"{self.keys.get(key, key)}={value}" for key, value in wishes.items())]

    def resuming(self, run: Path, wishes: dict[str, Any]) -> list[str]:
        found = [path for path in self.checkpoints(run) if path.exists()]
        return [*self.words(run, wishes), *(f"resume={path}" for path in found[:1])]

    def sweeping(self, folder: Path) -> list[str]:
        return ["-m", f"run_dir={folder}/000${{hydra:job.num}}", f"hydra.sweep.dir={folder}/hydra"]

    def checkpoints(self, run: Path) -> list[Path]:
        return [run / "last.ckpt"]

    def held_out(self, file: Path, words: list[str]) -> int:
        rows = len(np.load(file)["x"])
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))  # as random_split draws it
        return int(order[round(0.7 * rows) + 10])


class Given(Digits):
    """A user's own arrays in the place of the digits: x and y of a file .npz."""

    def __init__(self, *, file: str, **facts: Any) -> None:
        super().__init__(**facts)
        self.file = file

    def arrays(self) -> tuple[Split, None]:
        stored = np.load(self.file)
        return (torch.from_numpy(stored["x"]).float(), torch.from_numpy(stored["y"])), None


def digest(path: Path) -> str:
    """One number for all weights and all of the optimizer's state."""
    last = torch.load(path, map_location="cpu", weights_only=True)
    found = hashlib.sha256()
    for part in (last["state_dict"], last.get("optimizer_states"), last.get("lr_schedulers")):
        for place, value in sorted(leaves(part).items()):
            found.update(place.encode())
            found.update(value.numpy().tobytes() if isinstance(value, torch.Tensor) else json.dumps(value).encode())
    return found.hexdigest()


def leaves(tree: Any, place: str = "") -> dict[str, Any]:
    """Every value of a nested structure by its place."""
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in leaves(value, f"{place}/{key}").items()}
    return {place: tree}
