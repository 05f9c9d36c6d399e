"""What a trained model is for: test figures, predictions, and a file that runs elsewhere."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dlcourse.tasks.answers import forward_batches


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


def predictions(model: Any, x: Tensor) -> Iterable[str]:
    """A line a row, as the task writes it: the class and the probability of each, or the value."""
    return model.task.format_predictions(forward_batches(model, x))


def on_light_ground(model: Any, data: Any, x: Tensor) -> Tensor:
    """Which pictures of one channel (N,) have a ground (the median of their edge) much lighter than the training set.

    Ink on paper, where a model has seen light figures on a dark ground, as MNIST's, is read as something else. None is
    told where a model does not know its training set's mean and deviation (``data.standardise`` is not true, or
    trained weights brought their own).
    """
    known = data.standardise is True and "mean" in model.of_the_data
    if x.ndim != 4 or x.shape[1] != 1 or not known:
        return torch.zeros(len(x), dtype=torch.bool)
    edge = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], -1).flatten(1)
    return edge.median(1).values > model.mean.flatten().cpu() + 1.6 * model.std.flatten().cpu()
