"""Measurements of pictures beside methods that learn nothing."""

import math
from typing import Any

import torch

from dlcourse.measures import Measure
from dlcourse.tasks.predictions import forward_batches


class Bicubic(Measure):
    """``psnr`` of the model's enlarged test pictures, and ``bicubic_psnr`` of bicubic interpolation, in decibels.

    PSNR = 10 log10(white² / mean squared error), the error of all test pixels. For task=super_resolution. Lecture: L4.
    """

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        batch = data.samples("test").to(model.device)
        with torch.no_grad():
            inputs, target = model.task.prepare_batch(batch)
            enlarged = {"psnr": forward_batches(model, inputs).a, "bicubic_psnr": model.task.bicubic(inputs)}
        target = target.double().cpu()
        errors = {
            name: float((model.task.in_target_units(rows).double().cpu() - target).square().mean())
            for name, rows in enlarged.items()
        }
        return {name: -10 * math.log10(error) for name, error in errors.items()}
