"""What a trained model is for: test figures, predictions, and a file that runs elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 512


def test(cfg: Any, model: Any, data: Any) -> dict[str, float]:
    """The test figures, computed by the same steps as after training."""
    import lightning.pytorch as pl

    trainer = pl.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=1,
        precision=cfg.trainer.precision,
        limit_test_batches=cfg.trainer.limit_test_batches,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.test(model, datamodule=data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and without gradients; every part returns to the mode it was in."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in modes.items():
            part.training = training


def ask(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and outputs of raw inputs, a batch at a time."""
    first = next(model.parameters())
    with at_rest(model):
        z = [model(part.to(first.device, first.dtype)) for part in x.split(BATCH)]
        return torch.cat([part.float().cpu() for part in z]), torch.cat([model.output(p).float().cpu() for p in z])


def chosen(z: Tensor) -> Tensor:
    """The class of logits z (N, outputs): the largest, or with one output whether z > 0."""
    return z.argmax(1) if z.shape[1] > 1 else (z[:, 0] > 0).long()


def grid(x: Tensor, side: int) -> tuple[Tensor, tuple[float, float, float, float]]:
    """``side``² places (N, 2) around points x (N, 2), row by row from below; their left, right, lower, upper ends."""
    low, high = x.float().amin(0), x.float().amax(0)
    border = ((high - low) * 0.08).clamp_min(0.3)
    (x0, y0), (x1, y1) = (low - border).tolist(), (high + border).tolist()
    across, up = torch.meshgrid(torch.linspace(x0, x1, side), torch.linspace(y0, y1, side), indexing="xy")
    return torch.stack((across.flatten(), up.flatten()), 1), (x0, x1, y0, y1)


def predictions(model: Any, data: Any, x: Tensor) -> Iterator[str]:
    """A line a row: the class and the probability of each (or its score), or the value."""
    z, a = ask(model, x)
    names = data.classes or [str(k) for k in range(max(data.outputs, 2))]
    if data.task == "values":
        yield from ("\t".join(f"{value:.6g}" for value in row) for row in a.tolist())
        return
    shown = a if model.loss.probabilities else z
    if data.task == "binary":
        shown = torch.cat([1 - shown if model.loss.probabilities else -shown, shown], 1)
    for k, row in zip(chosen(z).tolist(), shown.tolist(), strict=True):
        yield "\t".join([names[k], *(f"{name}={value:.4f}" for name, value in zip(names, row, strict=True))])


def on_light_ground(model: Any, data: Any, x: Tensor) -> Tensor:
    """Which pictures of one channel (N,) have a ground (the median of their edge) much lighter than the training set.

    Ink on paper, where a model has seen light figures on a dark ground, as MNIST's, is read as something else. None is
    told where a model does not know its training set's mean and deviation (``data.standardise`` is not true).
    """
    if x.ndim != 4 or x.shape[1] != 1 or data.standardise is not True:
        return torch.zeros(len(x), dtype=torch.bool)
    edge = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], -1).flatten(1)
    return edge.median(1).values > model.mean.flatten().cpu() + 1.6 * model.std.flatten().cpu()
