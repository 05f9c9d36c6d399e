"""Use a trained model: its test metrics, and whether pictures suit it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlcourse.data.photo import sign
from dlcourse.errors import Refused


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


UNLIKE = 3.0  # times the training set's mean or deviation, or as many times less


def normalised(model: Any, data: Any, files: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """Photos of signs (N, 1, size, size) as the training pictures are, and which are unlike those, (N,).

    The signs are light on dark, as MNIST's, or dark on light where the training pictures are so: their mean is more
    than half of white. Unlike: the mean ink of a picture, or its deviation, is more than `UNLIKE` times that of the
    training set, or as many times less. Refused: other shapes, and models that know no mean of the training pictures.
    """
    shape = data.shape
    known = data.standardise is True and "mean" in model.of_the_data
    if len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2] or data.white is None or not known:
        raise Refused(
            f"normalise=true is for grey square pictures and models that know their mean, not for data={data.name} "
            "here; leave it out"
        )
    x = torch.stack([torch.from_numpy(sign(file, shape[1])) for file in files])[:, None]
    mean, std = (float(value) / data.white for value in (model.mean, model.std))
    light_ground = mean > 0.5
    ink, theirs = (x / 255).flatten(1), 1 - mean if light_ground else mean
    ratios = torch.stack([ink.mean(1) / theirs, ink.std(1) / std])
    unlike = ((ratios > UNLIKE) | (ratios < 1 / UNLIKE)).any(0)
    return (255 - x if light_ground else x) * (data.white / 255), unlike


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
