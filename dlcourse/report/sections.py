"""The report's section on the first layer: its filters and feature maps."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from torch import Tensor, nn

from dlcourse.plots.pictures import data_uri, is_picture, mosaic
from dlcourse.plots.section import Plot, Section, warn_section_failed
from dlcourse.tasks.predictions import forward_batches

MAX_FILTERS = 64


def first_layer_section(model: Any, inputs: Tensor) -> list[Section]:
    """The first layer's filters and feature maps, if its inputs are pictures."""
    attempts = [first_layer(model, inputs.shape[1:]), feature_maps(model, inputs)]
    plots = [plot for plot in attempts if plot is not None]
    return [Section("filters", "The first layer", plots=plots)] if plots else []


def filters(model: Any, shape: Sequence[int], limit: int) -> np.ndarray | None:
    """The first layer's weights as pictures (n, C, H, W), C in 1, 3, if its inputs are pictures."""
    has_weights: Callable[[nn.Module], bool] = lambda part: any(True for _ in part.parameters(recurse=False))  # noqa: E731
    first = next(filter(has_weights, model.network.modules()), None)
    if not is_picture(shape):
        return None
    if isinstance(first, nn.Linear) and first.in_features == prod(shape):
        weights = first.weight.reshape(-1, *shape)
    elif isinstance(first, nn.Conv2d) and first.weight.shape[1] in (1, 3):
        weights = first.weight
    else:
        return None
    return weights[:limit].detach().float().cpu().numpy()


def first_layer(model: Any, shape: Sequence[int]) -> Plot | None:
    """A plot of the first layer's weights, if its inputs are pictures."""
    title = "Filters of the first layer"
    try:
        weights = filters(model, shape, MAX_FILTERS)
        if weights is None:
            return None
        n, channels, height, width = weights.shape
        colours = "the three colours, grey is zero" if channels == 3 else "blue below zero, white zero, red above"
        caption = f"{n} filters of {height} × {width} weights, all on one scale: {colours}."
        return Plot(title, caption, uri=data_uri(mosaic(weights)))
    except Exception as error:
        return Plot(title, problem=warn_section_failed(title, error))


def feature_maps(model: Any, x: Tensor) -> Plot | None:
    """A plot of the first convolution's output for the first test picture."""
    first = next((part for part in model.network.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        return None
    title = "Feature maps of the first convolution"
    try:
        seen: list[Tensor] = []
        hook = first.register_forward_hook(lambda _, x, maps: seen.append(maps.float().cpu()))
        try:
            forward_batches(model, x[:1])
        finally:
            hook.remove()
        maps = seen[0][0, :MAX_FILTERS, None].numpy()
        caption = f"{len(maps)} maps of the first test picture, on one scale: blue below zero, white zero, red above."
        return Plot(title, caption, uri=data_uri(mosaic(maps)))
    except Exception as error:
        return Plot(title, problem=warn_section_failed(title, error))
