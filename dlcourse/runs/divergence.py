"""Find where a divergence began: repeat its last steps and check them layer by layer."""

import sys
import time
import warnings
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from dlcourse.config.compose import Composed
from dlcourse.errors import Diverged
from dlcourse.losses import Loss
from dlcourse.runs.building import build_seeded
from dlcourse.runs.callback import Callback
from dlcourse.runs.checkpoint_file import LAST, AtomicIO, set_random_state
from dlcourse.runs.directory import RunDirectory


class DivergenceFound(Exception):
    """Ends the repeated training; the message names the layer and the sample, or is empty if none was found."""


class FindDivergence(Callback):
    """Ends a repeated training at the first NaN or infinite value up to ``step``, or after ``seconds``.

    Each step is checked in the order of computation: outputs of layers, the loss, gradients, new weights.
    """

    def __init__(self, step: int, seconds: float = 60):
        self.step = step
        self.deadline = time.monotonic() + seconds
        self.batch: Any = None
        self.is_close = False  # in earlier steps, infinite values inside the network did no harm

    def on_load_checkpoint(self, trainer: pl.Trainer, _: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        set_random_state(checkpoint["rng"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, module in pl_module.named_modules():
            if name and not any(module.children()):
                module.register_forward_hook(partial(self._check_output, name))

    def on_train_batch_start(self, trainer: pl.Trainer, _: Any, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        if trainer.global_step > self.step or time.monotonic() > self.deadline:
            raise DivergenceFound("")
        self.batch, self.is_close = batch, trainer.global_step >= self.step - 2

    def on_validation_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, *_: Any) -> None:
        self.batch = batch

    def _check_output(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        value = output[0] if isinstance(module, Loss) else output
        if not self.is_close or not isinstance(value, Tensor) or bool(value.isfinite().all()):
            return
        if value.ndim:
            bad = ~value.isfinite().flatten(1).all(1)
            message = f"{name} ({type(module).__name__}) outputs {first_nonfinite(value)}"
        else:
            each = len(inputs[0]) // len(self.batch.x)  # rows of a sample: its pixels or cells, or one
            rows = [slice(k * each, (k + 1) * each) for k in range(len(self.batch.x))]
            single_samples = [[part if part is None else part[some] for part in inputs] for some in rows]
            bad = torch.stack([~module.forward(*parts)[0].isfinite() for parts in single_samples])
            message = f"the loss is {value.item()}"
        raise DivergenceFound(message + self._samples(bad))

    def _samples(self, bad: Tensor) -> str:
        """Which samples of the batch: the row of the first one in the data, and how many more.

        ``bad`` (M,): samples, or as many rows of each, those of a sample following one another.
        """
        if len(bad) % len(self.batch.index):
            return ""
        bad = bad.reshape(len(self.batch.index), -1).any(1)
        indices = sorted(self.batch.index[bad].tolist())
        if not indices:  # no sample causes it by itself
            return ""
        if len(indices) == len(bad) > 1:
            return f" for all {len(bad)} rows of the batch"
        return f" for row {indices[0]} of the data" + f" and {len(indices) - 1} more" * (len(indices) > 1)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:  # type: ignore[override]
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            return  # it skips steps whose gradients overflow
        named = [(name, p) for name, p in pl_module.named_parameters() if p.grad is not None]
        nonfinite = [(name, p.grad) for name, p in named if not bool(p.grad.isfinite().all())]  # type: ignore[union-attr]
        if not nonfinite:
            return
        name, gradient = nonfinite[-1]  # the layer nearest to the loss, from which it spread backwards
        parameters = [p for _, p in named]
        self.is_close = False
        pl_module.eval()  # batch normalisation has no statistics of a single sample
        bad = []
        for k in range(len(self.batch.x)):
            loss = pl_module.loss_of(self.batch.rows(slice(k, k + 1))).loss  # type: ignore[operator]
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            bad.append(not all(bool(g.isfinite().all()) for g in gradients if g is not None))
        value = first_nonfinite(gradient)  # type: ignore[arg-type]
        raise DivergenceFound(f"the gradient of {name} is {value}" + self._samples(torch.tensor(bad)))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        for name, p in pl_module.named_parameters():
            if not bool(p.isfinite().all()):
                raise DivergenceFound(f"step {trainer.global_step} made {name} {first_nonfinite(p)}")


def first_nonfinite(values: Tensor) -> float:
    """The first value that is NaN or infinite."""
    return values[~values.isfinite()][0].item()


def locate_divergence(divergence: Diverged, composed: Composed, run: RunDirectory) -> Diverged:
    """Repeat the last steps of a diverged run, and add the layer and the sample where it began to its message.

    Training restarts at the last checkpoint, or at the beginning if there is none; a resume is exact, so the steps are
    the same. A person's own callbacks do not run; if it does not diverge without them, the message stays as it is.
    """
    checkpoint = run.checkpoints / LAST
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    tree = {**composed.tree["trainer"], **quiet, "profiler": None}
    try:
        data, model = build_seeded(composed, run.path)
        trainer = instantiate(tree, _convert_="all", callbacks=[FindDivergence(divergence.step)], plugins=[AtomicIO()])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")
            trainer.fit(model, datamodule=data, ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    except DivergenceFound as location:
        found = f"recomputed: {location}" if str(location) else ""
        return Diverged(divergence.what, divergence.way_out, divergence.step, found)
    except Exception as error:  # explaining an error must not hide it behind another one
        print(f"the divergence could not be recomputed: {type(error).__name__}: {error}", file=sys.stderr)
    return divergence
