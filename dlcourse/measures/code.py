"""Measurements of the code that an encoder makes of its inputs."""

from typing import Any

import torch

from dlcourse.measures import Measure
from dlcourse.tasks.predictions import BATCH

ACTIVE = 0.01  # Burda et al. (2016)


class ActiveUnits(Measure):
    """How many units of the code tell test samples apart: those whose code varies by more than 0.01 over the samples.

    ``active``: their number; ``variance/1``, ``variance/2``, …: Var_x μ_k(x), from the largest. For models with
    ``encode``. Lecture: L4. Burda, Grosse and Salakhutdinov (2016).
    """

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        with torch.no_grad():
            parts = (part.to(model.device, model.mean.dtype) for part in data.sets["test"].x.split(BATCH))
            codes = [model.encode(part).double().cpu() for part in parts]
        variances = torch.cat(codes).var(0, correction=0).sort(descending=True).values.tolist()
        named = {f"variance/{k}": value for k, value in enumerate(variances, 1)}
        return {"active": float(sum(value > ACTIVE for value in variances)), **named}
