"""Report sections for regression: fitted curve, predicted against true values, residuals."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlcourse.plots import values as plots
from dlcourse.plots.section import Section, draw
from dlcourse.tasks.base import Predictions
from dlcourse.tasks.predictions import forward_batches


def sections(model: Any, data: Any, predictions: Predictions) -> list[Section]:
    test = data.sets["test"]
    x, y, a = (part.numpy() for part in (test.x, test.y, predictions.a))
    drawn = []
    if tuple(data.shape) == (1,):
        caption = "The model's output over the range of the test inputs."
        drawn.append(draw("Fitted curve", lambda: plots.fit(x[:, 0], y, curve(model, test.x)), caption))
    against = partial(plots.predicted_against_true, y, a)
    drawn.append(draw("Predicted against true values", against, "On the dashed line they are equal."))
    drawn.append(draw("Residuals", partial(plots.residuals, y, a), "Left of zero the prediction is too low."))
    return [
        Section("test", "On the test set", against_mean(y, a, data.sets["train"].y.double().mean(0).numpy()), drawn)
    ]


def against_mean(y: np.ndarray, a: np.ndarray, mean: np.ndarray) -> str:
    """What always answering the training ``mean`` (K,) would give, beside predictions a (N, K) of values y (N, K)."""
    with np.errstate(over="ignore", invalid="ignore"):
        ours, base = (((y.astype(float) - guess) ** 2).mean(0) ** 0.5 for guess in (a.astype(float), mean))
    several = len(base) > 1
    told = []
    for k, (error, usual) in enumerate(zip(ours.tolist(), base.tolist(), strict=True)):
        value = f"value {k + 1}: " if several else ""
        worse = "" if error < usual else ", no better than that"
        told.append(f"{value}{usual:.4g} by the mean, {error:.4g} by this model{worse}")
    said = "Root mean squared error of always answering the mean of the training rows, and of this model: "
    return f"{said}{'; '.join(told)}."


def curve(model: Any, x: Tensor, points: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """The fitted function (points,), (points, K) over the range of inputs (N, 1)."""
    places = torch.linspace(float(x.min()), float(x.max()), points).unsqueeze(1)
    return places[:, 0].numpy(), forward_batches(model, places).a.numpy()
