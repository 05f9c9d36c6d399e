"""Use a trained model: its test metrics, and whether pictures suit it."""

from typing import Any

import torch
from torch import Tensor


def test(cfg: Any, model: Any, data: Any) -> dict[str, float]:
    """The test metrics, computed by the same code as after training."""
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


def has_light_background(model: Any, data: Any, x: Tensor) -> Tensor:
    """Which grey pictures (N,) have a background (the median of their edge) much lighter than the training set.

    A model trained on light digits on a dark background, such as MNIST's, misreads dark digits on a light one. All are
    False without the training set's mean and deviation (``data.standardise`` is not true, or pretrained weights have
    their own).
    """
    known = data.standardise is True and "mean" in model.of_the_data
    if x.ndim != 4 or x.shape[1] != 1 or not known:
        return torch.zeros(len(x), dtype=torch.bool)
    edge = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], -1).flatten(1)
    return edge.median(1).values > model.mean.flatten().cpu() + 1.6 * model.std.flatten().cpu()
