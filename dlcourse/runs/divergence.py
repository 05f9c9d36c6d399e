"""Where a divergence began: its last steps are repeated and watched layer by layer."""

import sys
import time
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from dlcourse.config.compose import Composed
from dlcourse.errors import Diverged
from dlcourse.losses import Loss
from dlcourse.runs.building import build_seeded
from dlcourse.runs.callback import Callback
from dlcourse.runs.directory import RunDirectory
from dlcourse.runs.random_state import set_random_state


class Located(Exception):
    """Ends the repetition: the message names the layer and the sample, and is empty where nothing was found."""


class Watch(Callback):
    """Ends a repeated training at the first NaN or infinite value, on the way to ``step``; or after ``seconds``.

    Each step is looked at in the order in which it computes: outputs of layers, the loss, gradients, new weights.
    """

    def __init__(self, step: int, seconds: float = 60):
        self.step = step
        self.deadline = time.monotonic() + seconds
        self.batch: Any = None
        self.near = False  # before that, infinite values inside a network were no harm

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        set_random_state(checkpoint["rng"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, module in pl_module.named_modules():
            if name and not any(module.children()):
                module.register_forward_hook(partial(self._put_out, name))

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self.step or time.monotonic() > self.deadline:
            raise Located("")
        self.batch, self.near = batch, trainer.global_step >= self.step - 2

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, *_: Any
    ) -> None:
        self.batch = batch

    def _put_out(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        value = output[0] if isinstance(module, Loss) else output
        if not self.near or not isinstance(value, Tensor) or bool(value.isfinite().all()):
            return
        if value.ndim:
            bad = ~value.isfinite().flatten(1).all(1)
            what = f"{name} ({type(module).__name__}) puts out {first(value)}"
        else:
            alone = [[part if part is None else part[k : k + 1] for part in inputs] for k in self.rows]
            bad = torch.stack([~module.forward(*parts)[0].isfinite() for parts in alone])
            what = f"the loss is {value.item()}"
        raise Located(what + self._samples(bad))

    @property
    def rows(self) -> range:
        return range(len(self.batch.x))

    def _samples(self, bad: Tensor) -> str:
        """Which samples of the batch: the row of the data for one, the first row and how many for more."""
        numbers = sorted(self.batch.index[bad].tolist())
        if not numbers:  # none of them alone
            return ""
        if len(numbers) == len(bad) > 1:
            return f" for all {len(bad)} rows of the batch"
        return f" for row {numbers[0]} of the data" + f" and {len(numbers) - 1} more" * (len(numbers) > 1)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:  # type: ignore[override]
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            return  # it skips the steps whose gradients overflow
        named = [(name, p) for name, p in pl_module.named_parameters() if p.grad is not None]
        broken = [(name, p.grad) for name, p in named if not bool(p.grad.isfinite().all())]  # type: ignore[union-attr]
        if not broken:
            return
        name, gradient = broken[-1]  # the layer nearest to the loss: from there it was passed on
        parameters = [p for _, p in named]
        self.near = False
        pl_module.eval()  # batch normalisation has no statistics of one row
        bad = []
        for k in self.rows:
            loss = pl_module.loss_of(self.batch.rows(slice(k, k + 1))).loss  # type: ignore[operator]
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            bad.append(not all(bool(g.isfinite().all()) for g in gradients if g is not None))
        raise Located(f"the gradient of {name} is {first(gradient)}" + self._samples(torch.tensor(bad)))  # type: ignore[arg-type]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        for name, p in pl_module.named_parameters():
            if not bool(p.isfinite().all()):
                raise Located(f"step {trainer.global_step} made {name} {first(p)}")


def first(values: Tensor) -> float:
    """The first value that is NaN or infinite."""
    return values[~values.isfinite()][0].item()


def locate_divergence(divergence: Diverged, composed: Composed, run: RunDirectory) -> Diverged:
    """A divergence with the layer and the sample where it began: the same steps again, since a resume is exact.

    They begin at the last checkpoint, or at the start where there is none. Callbacks that a person added take no
    part; if it does not come about without them, nothing more is said.
    """
    import warnings

    from hydra.utils import instantiate

    from dlcourse.runs.checkpoint_file import LAST, AtomicIO

    assert run.path is not None
    checkpoint = run.path / "checkpoints" / LAST
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    tree = {**composed.tree["trainer"], **quiet, "profiler": None}
    try:
        data, model = build_seeded(composed, run.path)
        trainer = instantiate(tree, _convert_="all", callbacks=[Watch(divergence.step)], plugins=[AtomicIO()])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")
            trainer.fit(model, datamodule=data, ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    except Located as place:
        return Diverged(divergence.what, divergence.way_out, divergence.step, f"recomputed: {place}" * bool(str(place)))
    except Exception as error:  # it is to explain an error, not to hide it behind another
        print(f"the divergence could not be recomputed: {type(error).__name__}: {error}", file=sys.stderr)
    return divergence
