"""Run a new model once before any data is read."""

from typing import Any

import torch

from dlcourse.errors import ForwardFailed
from dlcourse.tasks.base import logits


def freeze_unreached(model: Any, outputs: int) -> list[str]:
    """Run two samples; freeze the parameters that get no gradient, and return their names.

    ForwardFailed: the model's forward raises; ValueError: z has not the shape (N, *task.places, outputs).
    """
    shape = tuple(model.example_input_array.shape[1:])
    model.eval()
    try:
        z = logits(model(model.example_input_array))
    except Exception as error:
        raise ForwardFailed(f"{type(model).__name__} failed on inputs of the data's shape {shape}") from error
    model.train()
    expected = (2, *model.task.places, outputs)
    if z.shape != expected:
        found, needed, inputs = (", ".join(map(str, each)) for each in (z.shape[1:], expected[1:], shape))
        raise ValueError(
            f"{type(model).__name__} turns inputs (N, {inputs}) into (N, {found}), but the data needs (N, {needed})"
        )
    of_the_loss = {id(p) for p in model.loss.parameters()}  # z does not depend on them, the loss does
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad and id(p) not in of_the_loss]
    if not z.requires_grad:
        return [name for name, _ in named]
    gradients = torch.autograd.grad(z.sum(), [p for _, p in named], allow_unused=True)
    frozen = [(name, p) for (name, p), gradient in zip(named, gradients, strict=True) if gradient is None]
    for _, p in frozen:
        p.requires_grad_(False)
    return [name for name, _ in frozen]
