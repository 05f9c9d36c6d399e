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
    return [Section("test", "On the test set", plots=drawn)]


def curve(model: Any, x: Tensor, points: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """The fitted function (points,), (points, K) over the range of inputs (N, 1)."""
    places = torch.linspace(float(x.min()), float(x.max()), points).unsqueeze(1)
    return places[:, 0].numpy(), forward_batches(model, places).a.numpy()
