"""What the training set says of a model's raw inputs: mean, deviation, and what stands for missing ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlcourse.losses import Loss
from dlcourse.tasks.base import PART, Batch, Task


class Standardised(pl.LightningModule):
    """A module that takes raw inputs x (N, *shape), and keeps in buffers what the training set says of them.

    ``mean`` and ``std`` of each channel or column; ``fill`` (*shape) stands for missing inputs (NaN), None where the
    data has none. The mean is float64 where float32 would lose digits of the data: seconds since 1970, coordinates.
    """

    task: Task
    loss: Loss
    mean: Tensor
    std: Tensor
    fill: Tensor | None

    def register_moments(self, shape: Sequence[int]) -> None:
        """The buffers, before any data is known: x as it is."""
        per_channel = (shape[0], *[1] * (len(shape) - 1))
        self.register_buffer("mean", torch.zeros(per_channel))
        self.register_buffer("std", torch.ones(per_channel))
        self.register_buffer("fill", None)

    @property
    def input_dtype(self) -> torch.dtype:
        """Of raw inputs: float64 if the mean alone is, else float32."""
        return torch.float64 if self.mean.dtype != self.std.dtype else torch.float32

    @property
    def of_the_data(self) -> list[str]:
        """The names of the buffers that depend only on the training set."""
        of_the_loss = ["loss.counts"] if self.loss.balanced else []
        return ["mean", "std", "fill", *(f"task.{name}" for name, _ in self.task.named_buffers()), *of_the_loss]

    def standardise(self, data: Any) -> None:
        """Take moments of inputs and targets, counts of classes, and what stands for missing inputs, from the data."""
        for name in ("mean", "std"):
            if name in self.of_the_data:
                value = getattr(data, name)
                buffer = getattr(self, name)
                setattr(self, name, buffer.to(torch.promote_types(buffer.dtype, value.dtype)).copy_(value))
        self.fill = None if data.fill is None else data.fill.to(self.mean)
        rows = data.sets["train"]
        self.task.fit(rows.x, rows.y, rows.weight)
        if self.loss.balanced:
            # in parts: the inputs may be larger than memory, unlike the targets
            parts = [self._compared(rows[positions]) for positions in torch.arange(len(rows)).split(PART)]
            targets, weights = zip(*parts, strict=True)
            self.loss.fit(torch.cat(targets), None if weights[0] is None else torch.cat(weights))

    def _compared(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The target of a batch as the loss gets it, and the weights."""
        _, target = self.task.prepare_batch(batch)
        z = torch.zeros(()).expand(len(batch.x), *self.task.places, self.task.outputs)
        return self.task.weighted_inputs(z, target, batch.weight)[1:]

    def remarks(self) -> list[str]:
        """What the loss has to say of the training rows."""
        return self.loss.remarks(self.task.output_names)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As PyTorch's; the buffers become what the run's data needed, a float64 mean, values for missing inputs."""
        for prefix, owner in (("", self), ("task.", self.task)):
            for mean, std in (("mean", "std"), ("y_mean", "y_std"), ("x_mean", "x_std")):
                found = state_dict.get(prefix + mean)
                if found is not None and found.dtype == torch.float64 != state_dict[prefix + std].dtype:
                    setattr(owner, mean, getattr(owner, mean).double())
        if "fill" in state_dict:
            self.fill = torch.empty_like(state_dict["fill"], device=self.mean.device)
        return super().load_state_dict(state_dict, *args, **kwargs)
