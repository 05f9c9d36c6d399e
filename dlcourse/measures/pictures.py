"""Measurements of pictures beside methods that learn nothing."""

from typing import Any

import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from dlcourse.measures import Measure
from dlcourse.tasks.predictions import forward_batches


class Bicubic(Measure):
    """``psnr`` of the model's enlarged test pictures, and ``bicubic_psnr`` of bicubic interpolation, in decibels.

    PSNR = 10 log10(white² / mean squared error), the error of all test pixels. For task=super_resolution. Lecture: L4.
    """

    needs = ("task.bicubic", "task.in_target_units")

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        batch = data.samples("test").to(model.device)
        with torch.no_grad():
            inputs, target = model.task.prepare_batch(batch)
            enlarged = {"psnr": forward_batches(model, inputs).a, "bicubic_psnr": model.task.bicubic(inputs)}
        rows = {name: model.task.in_target_units(pictures.cpu()).double() for name, pictures in enlarged.items()}
        target = target.double().cpu()
        return {name: float(peak_signal_noise_ratio(each, target, data_range=1.0)) for name, each in rows.items()}
